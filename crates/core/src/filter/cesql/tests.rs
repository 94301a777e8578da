#![allow(clippy::unwrap_used, reason = "tests")]

use busway_message::convert::to_binary;
use http::{HeaderMap, HeaderValue, header};
use proptest::prelude::*;

use super::*;

fn event() -> Message {
    let body = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","flag":true,"number":7,
        "text":"ab","empty":"","data":{"a":1}}"#;
    let mut headers = HeaderMap::new();
    let structured = HeaderValue::from_static("application/cloudevents+json");
    headers.insert(header::CONTENT_TYPE, structured);
    Message::new(headers, body.into())
}

/// The value, and what went wrong.
fn give(source: &str) -> String {
    let message = event();
    let expression = Expression::parse(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    let evaluation = expression.evaluate(&message);
    let value = match evaluation.value {
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::String(text) => format!("{text:?}"),
    };
    match evaluation.error {
        None => value,
        Some(error) => format!(
            "{value} {} {}:{}",
            error.failure.reason(),
            error.position.line,
            error.position.column
        ),
    }
}

fn refuse(source: &str) -> String {
    Expression::parse(source).unwrap_err().to_string()
}

#[test]
fn operators_bind_as_the_specification_says() {
    for (source, value) in [
        ("2 + 3 * 4 - 6 / 3 % 4", "12"),
        ("10 - 4 - 3", "3"),
        ("100 / 5 / 2", "10"),
        ("1 + 1 = 2 AND 2 * 2 > 3", "true"),
        ("2 > 1 = TRUE", "true"),
        // AND, OR and XOR are of the same rank, from left to right.
        ("TRUE OR TRUE AND FALSE", "false"),
        ("TRUE OR (TRUE AND FALSE)", "true"),
        ("FALSE AND FALSE OR TRUE", "true"),
        ("TRUE XOR TRUE XOR TRUE", "true"),
        // NOT is tighter than anything with two operands.
        ("NOT flag = FALSE", "true"),
        ("NOT NOT flag", "true"),
        ("NOT EXISTS nothing AND flag", "true"),
        ("-number + 8", "1"),
        ("- number * 2", "-14"),
        ("'a' LIKE 'a' = TRUE", "true"),
        ("1 + 1 IN (1) + 2", "4"),
        ("text LIKE 'a_' IN (TRUE) AND TRUE", "true"),
        ("text NOT LIKE 'b%' AND text NOT IN ('b', 'c')", "true"),
    ] {
        assert_eq!(give(source), value, "{source}");
    }
}

#[test]
fn a_sign_belongs_to_digits_only_where_a_value_begins() {
    for (source, value) in [
        ("4-1", "3"),
        ("4 -1", "3"),
        ("4--1", "5"),
        ("4+-1", "3"),
        ("+4", "4"),
        ("-2147483648", "-2147483648"),
        ("- 2147483647", "-2147483647"),
        ("--2147483648", "0 MathError 1:1"),
        ("-2147483648 / -1", "0 MathError 1:13"),
        ("-2147483648 % -1", "0"),
        ("-7 / 2", "-3"),
        ("-7 % 2", "-1"),
        ("2147483647 + 1", "0 MathError 1:12"),
        ("-2147483648 - 1", "0 MathError 1:13"),
        ("65536 * 65536", "0 MathError 1:7"),
    ] {
        assert_eq!(give(source), value, "{source}");
    }
    assert_eq!(
        refuse("2147483648"),
        "line 1, column 1: `2147483648` is not an integer of 32 bits"
    );
    assert_eq!(
        refuse("+ 4"),
        "line 1, column 1: here should be a value, not `+`"
    );
}

#[test]
fn the_first_error_ends_it_with_the_zero_value_of_the_type() {
    for (source, value) in [
        ("nothing", "false MissingAttributeError 1:1"),
        ("1 + nothing", "0 MissingAttributeError 1:5"),
        ("LOWER(nothing)", "\"\" MissingAttributeError 1:7"),
        ("LENGTH(LEFT('abc', -2))", "0 FunctionEvaluationError 1:8"),
        ("LEFT('abc', -2)", "\"abc\" FunctionEvaluationError 1:1"),
        ("ABS(-2147483648) + 0", "0 MathError 1:1"),
        ("nothing = 1 OR TRUE", "false MissingAttributeError 1:1"),
        ("TRUE OR nothing = 1", "true"),
        ("FALSE AND 1 / 0 = 1", "false"),
        ("FALSE XOR 1 / 0 = 1", "false MathError 1:13"),
        ("'a' = 1", "false CastError 1:5"),
        ("1 = 'a'", "false"),
        ("1 IN ('1', 'a')", "true"),
        ("1 IN ('a', '1')", "false CastError 1:3"),
        ("text < 1", "false CastError 1:6"),
        ("NOT text", "false CastError 1:1"),
        ("EXISTS nothing", "false"),
        ("EXISTS empty AND empty = ''", "true"),
        ("\n  text\n  = nothing", "false MissingAttributeError 3:5"),
    ] {
        assert_eq!(give(source), value, "{source}");
    }
}

#[test]
fn an_attribute_alone_has_the_type_that_it_reads_as() {
    assert_eq!(give("flag"), "true");
    assert_eq!(give("(number)"), "7");
    assert_eq!(give("id"), "1");
    assert_eq!(give("text"), "\"ab\"");
    // And is a String wherever something is done with it.
    assert_eq!(give("id IN ('abc', 1)"), "true");
    assert_eq!(give("CONCAT(number, id)"), "\"71\"");
    assert_eq!(give("TYPE = 't' AND Flag"), "true");
}

#[test]
fn texts_are_taken_as_they_are_but_for_their_own_quote() {
    for (source, value) in [
        (r#"'a"b\'c'"#, r#""a\"b'c""#),
        (r#""a'b\"c""#, r#""a'b\"c""#),
        (r"'\\'", r#""\\\\""#),
        (r"'\n\%'", r#""\\n\\%""#),
        ("''", "\"\""),
        ("'%#\n'", "\"%#\\n\""),
    ] {
        assert_eq!(give(source), value, "{source}");
    }
}

#[test]
fn what_is_wrong_is_said_where_it_is() {
    for (source, error) in [
        ("", "line 1, column 1: here should be a value, not the end"),
        (
            "type = ",
            "line 1, column 8: here should be a value, not the end",
        ),
        (
            "type = 'a' 'b'",
            "line 1, column 12: here should be an operator or the end, not \"b\"",
        ),
        (
            "(TRUE",
            "line 1, column 6: here should be `)` or an operator, not the end",
        ),
        (
            "TRUE)",
            "line 1, column 5: here should be an operator or the end, not `)`",
        ),
        (
            "x LIKE 123",
            "line 1, column 8: here should be a pattern in quotes, not `123`",
        ),
        (
            "x IN ()",
            "line 1, column 7: here should be a value, not `)`",
        ),
        (
            "x IN 1",
            "line 1, column 6: here should be `(` and a list of values, not `1`",
        ),
        (
            "x NOT = 1",
            "line 1, column 3: here should be an operator or the end, not `NOT`",
        ),
        (
            "EXISTS 'x'",
            "line 1, column 8: here should be the name of an attribute, not \"x\"",
        ),
        (
            "EXISTS and",
            "line 1, column 8: here should be a value, not `and`",
        ),
        (
            "type == 'a'",
            "line 1, column 7: here should be a value, not `=`",
        ),
        (
            "'ä' = 'b\\'",
            "line 1, column 7: the quote that begins here is never closed",
        ),
        (
            "a\nAND\n  $",
            "line 3, column 3: '$' is no part of the language",
        ),
        (
            "my_ext = 1",
            "line 1, column 1: `my_ext` is not the name of an attribute, which has letters and digits only",
        ),
        (
            "TRUE AND Foo(1)",
            "line 1, column 10: there is no function `Foo`",
        ),
        (
            "left('a')",
            "line 1, column 1: the function `LEFT` does not take 1 arguments",
        ),
        (
            "SUBSTRING('a')",
            "line 1, column 1: the function `SUBSTRING` does not take 1 arguments",
        ),
        (
            "CONCAT(1,)",
            "line 1, column 10: here should be a value, not `)`",
        ),
    ] {
        assert_eq!(refuse(source), error, "{source}");
    }
}

#[test]
fn what_can_never_be_a_boolean_is_no_filter() {
    for (source, reason) in [
        ("1 + 1", "NotBoolean"),
        ("'true'", "NotBoolean"),
        ("(", "ParseError"),
    ] {
        let error = Expression::predicate(source).unwrap_err();
        assert_eq!(error.reason(), reason, "{source}");
    }
    for source in ["flag", "1 = 1", "NOT 1", "BOOL(1)", "EXISTS a", "a LIKE ''"] {
        assert!(Expression::predicate(source).is_ok(), "{source}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let brackets = |depth| format!("{}TRUE{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(give(&brackets(MAX_NESTING)), "true");
    let too_deep = "line 1, column 34: an expression nests at most 32 levels deep";
    assert_eq!(refuse(&brackets(MAX_NESTING + 1)), too_deep);
    assert_eq!(refuse(&"(".repeat(MAX_LENGTH)), too_deep);
    let calls = format!("{}1{}", "ABS(".repeat(33), ")".repeat(33));
    assert!(refuse(&calls).ends_with("32 levels deep"));
    let too_long = "line 1, column 1: an expression has at most 4096 characters";
    assert_eq!(refuse(&" ".repeat(MAX_LENGTH + 1)), too_long);
    // What stands side by side may be as long as an expression.
    assert_eq!(give(&format!("{}1", "- ".repeat(2000))), "1");
    assert_eq!(give(&format!("{}TRUE", "NOT ".repeat(1000))), "true");
    assert_eq!(give(&format!("0{}", " + 1".repeat(1000))), "1000");
    assert_eq!(give(&format!("FALSE{}", " OR FALSE".repeat(400))), "false");
    assert_eq!(give(&format!("''{}", " LIKE ''".repeat(400))), "false");
    assert_eq!(give(&format!("1 IN (0{}, 1)", ", 0".repeat(1000))), "true");
}

#[test]
fn the_deepest_expression_needs_little_stack() {
    let level = "NOT (TRUE AND 1 = 1 + 1 * LENGTH(";
    let deep = format!(
        "{}'a'{}",
        level.repeat(MAX_NESTING / 2),
        ") LIKE 'a')".repeat(MAX_NESTING / 2)
    );
    // A quarter of what a thread of a runtime has.
    let small = std::thread::Builder::new().stack_size(512 * 1024);
    let thread = small.spawn(move || {
        let expression = Expression::parse(&deep).unwrap();
        expression.evaluate(&event()).error
    });
    assert_eq!(thread.unwrap().join().unwrap(), None);
}

#[test]
fn nothing_is_copied_to_compare() {
    let message = event();
    for source in [
        "text",
        "TRIM(text)",
        "LOWER(text)",
        "SUBSTRING(text, 2)",
        "LEFT(text, 1)",
    ] {
        let expression = Expression::parse(source).unwrap();
        let Value::String(text) = expression.evaluate(&message).value else {
            panic!("{source} gives a String");
        };
        assert!(matches!(text, std::borrow::Cow::Borrowed(_)), "{source}");
    }
}

#[test]
fn an_attribute_that_is_too_large_to_look_at_often_is_given_up() {
    let large = "a".repeat(300_000);
    let message = event().with_body(format!(r#"{{"large":"{large}"}}"#).into());
    for source in [
        "large = '' OR large = '' OR large = '' OR large = ''",
        "LENGTH(CONCAT(large, large)) > 0",
        "large LIKE '%_b_c%'",
    ] {
        let expression = Expression::parse(source).unwrap();
        let error = expression.evaluate(&message).error.unwrap();
        assert_eq!(error.failure, Failure::TooCostly, "{source}");
    }
    let once = Expression::parse("large LIKE '%b%'").unwrap();
    assert_eq!(once.evaluate(&message).error, None);
}

/// An expression that is well-formed, of any types.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(|number| number.to_string()),
        "'[a-c%_\\\\0-9é]{0,5}x'",
        "(id|flag|number|text|empty|nothing|TRUE|false|EXISTS text)",
    ];
    leaf.prop_recursive(4, 40, 3, |inner| {
        let operator = prop::sample::select(vec![
            "=", "!=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "AND", "or", "XOR",
        ]);
        let of_one = prop::sample::select(vec![
            "INT",
            "bool",
            "STRING",
            "IS_INT",
            "IS_BOOL",
            "LENGTH",
            "LOWER",
            "UPPER",
            "TRIM",
            "ABS",
            "CONCAT",
            "CONCAT_WS",
            "NOT ",
            "- ",
        ]);
        let of_more = prop::sample::select(vec!["CONCAT", "CONCAT_WS", "SUBSTRING"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone())
                .prop_map(|(a, op, b)| format!("({a}) {op} {b}")),
            (of_one, inner.clone()).prop_map(|(name, a)| format!("{name}({a})")),
            (of_more, inner.clone(), inner.clone())
                .prop_map(|(name, a, b)| format!("{name}({a}, {b})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("SUBSTRING({a}, {b}, {c})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("LEFT({a}, RIGHT({b}, 1))")),
            (inner.clone(), "[ab%_]{0,4}").prop_map(|(a, like)| format!("({a}) LIKE '{like}'")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("({a}) NOT IN ({b}, {c})")),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_compiled_or_refused(source in "\\PC*") {
        let _compiled = Expression::parse(&source);
    }

    #[test]
    fn any_tokens_are_compiled_or_refused(tokens in prop::collection::vec(
        "(AND|NOT|LIKE|IN|EXISTS|TRUE|abs|left|type|x1|'a'|\"b%\"|'|-?[0-9]{1,10}|[-+*/%=<>!(),])", 0..24)) {
        if let Ok(expression) = Expression::parse(&tokens.join(" ")) {
            let _evaluated = expression.evaluate(&event());
        }
    }

    #[test]
    fn well_formed_expressions_give_the_same_in_both_modes(source in expression()) {
        let structured = event();
        let binary = to_binary(&structured).unwrap();
        let expression = Expression::parse(&source).unwrap();
        let given = expression.evaluate(&structured);
        prop_assert_eq!(&given, &expression.evaluate(&binary));
        let expected = expression.root.gives().unwrap_or(given.value.of_type());
        prop_assert_eq!(given.value.of_type(), expected);
    }
}

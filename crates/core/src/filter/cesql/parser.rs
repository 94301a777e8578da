//! The grammar (§2) with its precedence (§3.6), by recursive descent.

use std::borrow::Cow;

use busway_message::AttributeName;

use super::{
    InvalidExpression, MAX_LENGTH, MAX_NESTING, Position, Value,
    functions::Function,
    invalid::Problem,
    lexer::{Lexeme, Token, shown, tokens},
    like::Pattern,
    operators::{LEVELS, Operator},
    tree::{Call, Link, Node, Prefix, Test, What},
};

type Parsed<T> = Result<T, InvalidExpression>;

/// Words that name no attribute.
const KEYWORDS: [&str; 9] = [
    "AND", "OR", "XOR", "NOT", "LIKE", "EXISTS", "IN", "TRUE", "FALSE",
];

pub(super) fn parse(source: &str) -> Parsed<Node> {
    if source.chars().count() > MAX_LENGTH {
        return Err(InvalidExpression::new(Position::START, Problem::TooLong));
    }
    let mut parser = Parser {
        tokens: tokens(source)?,
        next: 0,
        nesting: 0,
    };
    let node = parser.chain(0)?;
    match parser.peek() {
        Token::End => Ok(node),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

struct Parser<'s> {
    tokens: Vec<Lexeme<'s>>,
    next: usize,
    nesting: usize,
}

impl<'s> Parser<'s> {
    /// Operands with the operators of one level between them.
    fn chain(&mut self, level: usize) -> Parsed<Node> {
        if level == LEVELS {
            return self.tested();
        }
        let first = self.chain(level + 1)?;
        let mut links = Vec::new();
        while let Some(operator) = Operator::of(self.peek(), level) {
            let at = self.advance();
            let right = self.chain(level + 1)?;
            links.push(Link {
                operator,
                right,
                at,
            });
        }
        Ok(match links.is_empty() {
            true => first,
            false => Node::Chain(Box::new(first), links),
        })
    }

    /// An operand with any number of LIKE and IN behind it.
    fn tested(&mut self) -> Parsed<Node> {
        let operand = self.prefixed()?;
        let mut tests = Vec::new();
        loop {
            let is_negated = self.is_word("NOT", 0);
            let ahead = usize::from(is_negated);
            let is_like = self.is_word("LIKE", ahead);
            if !is_like && !self.is_word("IN", ahead) {
                break;
            }
            let at = self.advance();
            if is_negated {
                self.advance();
            }
            let what = match is_like {
                true => What::Like(self.pattern()?),
                false => What::In(self.set()?),
            };
            tests.push(Test {
                is_negated,
                what,
                at,
            });
        }
        Ok(match tests.is_empty() {
            true => operand,
            false => Node::Tested(Box::new(operand), tests),
        })
    }

    fn prefixed(&mut self) -> Parsed<Node> {
        let mut operators = Vec::new();
        loop {
            let operator = match self.peek() {
                Token::Word(word) if word.eq_ignore_ascii_case("NOT") => Prefix::Not,
                Token::Symbol("-") if self.signed().is_none() => Prefix::Minus,
                _ => break,
            };
            operators.push((operator, self.advance()));
        }
        let operand = self.operand()?;
        Ok(match operators.is_empty() {
            true => operand,
            false => Node::Prefixed(operators, Box::new(operand)),
        })
    }

    fn operand(&mut self) -> Parsed<Node> {
        if let Some(number) = self.signed() {
            let node = self.integer(&number)?;
            // The sign was a token of its own.
            self.advance();
            return Ok(node);
        }
        match self.peek().clone() {
            Token::Text(text) => {
                self.advance();
                Ok(Node::Literal(Value::String(Cow::Owned(text.into_owned()))))
            }
            Token::Symbol("(") => {
                self.advance();
                let inner = self.nested()?;
                self.take(")", "`)` or an operator")?;
                Ok(inner)
            }
            Token::Word(word) => self.word(word),
            Token::Symbol(_) | Token::End => Err(self.unexpected("a value")),
        }
    }

    fn word(&mut self, word: &'s str) -> Parsed<Node> {
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
        if is("TRUE") || is("FALSE") {
            self.advance();
            return Ok(Node::Literal(Value::Boolean(is("TRUE"))));
        }
        if is("EXISTS") {
            let at = self.advance();
            return match self.peek().clone() {
                Token::Word(word) => Ok(Node::Exists(self.attribute(word)?, at)),
                _ => Err(self.unexpected("the name of an attribute")),
            };
        }
        if is_number(word) {
            return self.integer(word);
        }
        if self.ahead(1) == &Token::Symbol("(") && !KEYWORDS.iter().any(|it| is(it)) {
            return self.call(word);
        }
        let at = self.position();
        Ok(Node::Attribute(self.attribute(word)?, at))
    }

    fn call(&mut self, name: &str) -> Parsed<Node> {
        let at = self.advance();
        self.advance();
        let mut arguments = Vec::new();
        if self.peek() != &Token::Symbol(")") {
            arguments = self.list()?;
        }
        self.take(")", "`,`, `)` or an operator")?;
        let function = Function::resolve(name, arguments.len())
            .map_err(|problem| InvalidExpression::new(at, problem))?;
        Ok(Node::Call(Call {
            function,
            arguments,
            at,
        }))
    }

    fn pattern(&mut self) -> Parsed<Pattern> {
        let Token::Text(text) = self.peek() else {
            return Err(self.unexpected("a pattern in quotes"));
        };
        let pattern = Pattern::new(text);
        self.advance();
        Ok(pattern)
    }

    fn set(&mut self) -> Parsed<Vec<Node>> {
        self.take("(", "`(` and a list of values")?;
        let set = self.list()?;
        self.take(")", "`,`, `)` or an operator")?;
        Ok(set)
    }

    fn list(&mut self) -> Parsed<Vec<Node>> {
        let mut list = vec![self.nested()?];
        while self.peek() == &Token::Symbol(",") {
            self.advance();
            list.push(self.nested()?);
        }
        Ok(list)
    }

    /// What stands in brackets. Only this recurses, so this is what the bound is for.
    fn nested(&mut self) -> Parsed<Node> {
        if self.nesting == MAX_NESTING {
            return Err(self.wrong(Problem::TooDeep));
        }
        self.nesting += 1;
        let inner = self.chain(0);
        self.nesting -= 1;
        inner
    }

    fn attribute(&mut self, word: &str) -> Parsed<AttributeName> {
        if KEYWORDS.iter().any(|it| word.eq_ignore_ascii_case(it)) {
            return Err(self.unexpected("a value"));
        }
        let is_name = !word.contains('_') && !is_number(word);
        // Any case is taken, as by the kit; attributes are lower-case.
        let name = AttributeName::new(&word.to_ascii_lowercase())
            .ok()
            .filter(|_| is_name)
            .ok_or_else(|| self.wrong(Problem::Name(shown(word).to_owned())))?;
        self.advance();
        Ok(name)
    }

    /// The digits that follow a sign at once, and the sign.
    fn signed(&self) -> Option<String> {
        let (sign, digits) = (self.lexeme(0)?, self.lexeme(1)?);
        match (&sign.token, &digits.token) {
            (Token::Symbol(text @ ("+" | "-")), Token::Word(word))
                if sign.end == digits.start && is_number(word) =>
            {
                Some([text, *word].concat())
            }
            _ => None,
        }
    }

    fn integer(&mut self, digits: &str) -> Parsed<Node> {
        let value = digits
            .parse()
            .map_err(|_| self.wrong(Problem::Integer(shown(digits).to_owned())))?;
        self.advance();
        Ok(Node::Literal(Value::Integer(value)))
    }

    fn is_word(&self, keyword: &str, ahead: usize) -> bool {
        matches!(self.ahead(ahead), Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn lexeme(&self, ahead: usize) -> Option<&Lexeme<'s>> {
        self.tokens.get(self.next + ahead)
    }

    fn ahead(&self, ahead: usize) -> &Token<'s> {
        self.lexeme(ahead).map_or(&Token::End, |it| &it.token)
    }

    fn peek(&self) -> &Token<'s> {
        self.ahead(0)
    }

    fn position(&self) -> Position {
        // The end is never passed.
        self.lexeme(0).map_or(Position::START, |it| it.at)
    }

    /// Goes on to the next token; where this one was.
    fn advance(&mut self) -> Position {
        let position = self.position();
        self.next += 1;
        position
    }

    fn take(&mut self, symbol: &'static str, expected: &'static str) -> Parsed<()> {
        if self.peek() != &Token::Symbol(symbol) {
            return Err(self.unexpected(expected));
        }
        self.advance();
        Ok(())
    }

    fn unexpected(&self, expected: &'static str) -> InvalidExpression {
        let found = self.peek().to_string();
        self.wrong(Problem::Unexpected { expected, found })
    }

    fn wrong(&self, problem: Problem) -> InvalidExpression {
        InvalidExpression::new(self.position(), problem)
    }
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

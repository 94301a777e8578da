//! The paths that a Rust source mentions: in `use` trees and anywhere else, without comments and literals.

/// A path, `super` and `self` resolved: `["kube", "Client"]`, `["crate", "buses", "disk"]`.
pub(crate) type Path = Vec<String>;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Ident(String),
    PathSep,
    Other(char),
}

/// Every path in `source`, which is the module `module` (below `crate`).
pub(crate) fn paths(source: &str, module: &[&str]) -> Vec<Path> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    let mut inside: Vec<Option<String>> = Vec::new(); // one entry per open brace; a name for `mod name {`
    let mut at = 0;
    while at < tokens.len() {
        let here = || {
            let inline = inside.iter().flatten().map(String::as_str);
            module.iter().copied().chain(inline).map(str::to_owned)
        };
        match &tokens[at] {
            Token::Ident(word) if word == "use" => {
                let mut tree = Vec::new();
                at = use_tree(&tokens, at + 1, &[], &mut tree);
                found.extend(tree.into_iter().map(|path| resolve(path, here().collect())));
            }
            Token::Ident(_) => {
                let mut path = Vec::new();
                while let Some(Token::Ident(word)) = tokens.get(at) {
                    path.push(word.clone());
                    at += 1;
                    if !is(&tokens, at, &Token::PathSep) {
                        break;
                    }
                    at += 1;
                }
                match path.as_slice() {
                    [word] if word == "mod" => {
                        if let (Some(Token::Ident(name)), true) =
                            (tokens.get(at), is(&tokens, at + 1, &Token::Other('{')))
                        {
                            inside.push(Some(name.clone()));
                            at += 2;
                        }
                    }
                    [word] if word == "extern" => {
                        if let (true, Some(Token::Ident(name))) = (
                            is(&tokens, at, &Token::Ident("crate".to_owned())),
                            tokens.get(at + 1),
                        ) {
                            found.push(vec![name.clone()]);
                        }
                    }
                    [] | [_] => {}
                    _ => found.push(resolve(path, here().collect())),
                }
            }
            Token::Other('{') => {
                inside.push(None);
                at += 1;
            }
            Token::Other('}') => {
                inside.pop();
                at += 1;
            }
            _ => at += 1,
        }
    }
    found
}

fn is(tokens: &[Token], at: usize, token: &Token) -> bool {
    tokens.get(at) == Some(token)
}

/// Reads one tree of a `use`, from `at`; returns where it ends.
fn use_tree(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Path>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some(Token::PathSep) => at += 1,
            Some(Token::Ident(word)) if word == "as" => at += 2,
            Some(Token::Ident(word)) => {
                path.push(word.clone());
                at += 1;
            }
            Some(Token::Other('*')) => {
                path.push("*".to_owned());
                at += 1;
            }
            Some(Token::Other('{')) => {
                at += 1;
                while !matches!(tokens.get(at), None | Some(Token::Other('}'))) {
                    at = use_tree(tokens, at, &path, found);
                    if is(tokens, at, &Token::Other(',')) {
                        at += 1;
                    }
                }
                return at + 1;
            }
            Some(Token::Other(',' | '}')) => break,
            Some(Token::Other(_)) => {
                at += 1;
                break;
            }
            None => break,
        }
    }
    if path.len() > prefix.len() {
        found.push(path);
    }
    at
}

/// Makes a path that starts at the module start at the crate.
fn resolve(path: Path, mut module: Vec<String>) -> Path {
    let climbs = path
        .iter()
        .take_while(|word| *word == "super" || *word == "self")
        .count();
    if climbs == 0 {
        return path;
    }
    for word in &path[..climbs] {
        if word == "super" {
            module.pop();
        }
    }
    let mut resolved = vec!["crate".to_owned()];
    resolved.extend(module);
    resolved.extend_from_slice(&path[climbs..]);
    resolved
}

fn tokens(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let get = |at: usize| text.get(at).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let c = text[at];
        if c == '/' && get(at + 1) == '/' {
            while at < text.len() && text[at] != '\n' {
                at += 1;
            }
        } else if c == '/' && get(at + 1) == '*' {
            let mut depth = 0;
            while at < text.len() {
                match (text[at], get(at + 1)) {
                    ('/', '*') => (depth, at) = (depth + 1, at + 2),
                    ('*', '/') => (depth, at) = (depth - 1, at + 2),
                    _ => at += 1,
                }
                if depth == 0 {
                    break;
                }
            }
        } else if c == '"' {
            at = string_end(&text, at + 1);
        } else if c == '\'' {
            // A character, or a lifetime, which has no closing quote.
            if get(at + 1) == '\\' {
                at += 3;
                while at < text.len() && text[at] != '\'' {
                    at += 1;
                }
                at += 1;
            } else {
                at += if get(at + 2) == '\'' { 3 } else { 1 };
            }
        } else if c.is_alphabetic() || c == '_' {
            let start = at;
            while get(at).is_alphanumeric() || get(at) == '_' {
                at += 1;
            }
            let word: String = text[start..at].iter().collect();
            let hashes = text[at..].iter().take_while(|c| **c == '#').count();
            if word.ends_with('r') && word.len() <= 2 && get(at + hashes) == '"' {
                at = raw_string_end(&text, at + hashes + 1, hashes);
            } else if word == "r" && hashes == 1 {
                at += 1; // a raw identifier: its name follows
            } else {
                tokens.push(Token::Ident(word));
            }
        } else if c == ':' && get(at + 1) == ':' {
            tokens.push(Token::PathSep);
            at += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(Token::Other(c));
            }
            at += 1;
        }
    }
    tokens
}

fn string_end(text: &[char], mut at: usize) -> usize {
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_string_end(text: &[char], mut at: usize, hashes: usize) -> usize {
    while at < text.len() {
        let closing = text[at + 1..].iter().take_while(|c| **c == '#').count();
        if text[at] == '"' && closing >= hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    at
}

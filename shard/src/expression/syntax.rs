//! From text to a syntax tree, by the expression grammar of `sqlparser` and nothing else of it.
//!
//! Length, number of tokens and depth are bounded before anything recurses, and only the signs of
//! this language get as far as the grammar.

use sqlparser::ast::{Expr, Spanned};
use sqlparser::dialect::Dialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace};

use super::Fault;
use crate::limits::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX, EXPRESSION_TOKENS_MAX};

/// SQL's own lexical rules without the extensions of any product.
#[derive(Debug)]
struct Grammar;

impl Dialect for Grammar {
    fn is_identifier_start(&self, c: char) -> bool {
        c.is_ascii_alphabetic() || c == '_'
    }

    fn is_identifier_part(&self, c: char) -> bool {
        c.is_ascii_alphanumeric() || c == '_'
    }
}

/// Levels of the grammar's own count that an expression without any nesting takes: itself, and the
/// type that each of its words might be.
const FLAT_LEVELS: usize = 2;

/// Reads one expression that takes up the whole text.
pub(super) fn parse(text: &str) -> Result<Expr, Fault> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let length = text.len();
        return Err(Fault::new(
            0,
            format!("an expression of {length} bytes; at most {EXPRESSION_BYTES_MAX} are possible"),
        ));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser::new(&Grammar)
        .with_recursion_limit(EXPRESSION_DEPTH_MAX + FLAT_LEVELS)
        .with_tokens_with_locations(tokens);
    let tree = parser
        .parse_expr()
        .map_err(|error| grammar_fault(text, &error))?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        let at = offset(text, rest.span.start);
        let message = format!("`{}` does not continue the expression", rest.token);
        return Err(Fault::new(at, message));
    }
    Ok(tree)
}

fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, Fault> {
    let mut tokens = Tokenizer::new(&Grammar, text)
        .tokenize_with_location()
        .map_err(|error| Fault::new(offset(text, error.location), lower_first(&error.message)))?;
    if let Some(stray) = tokens.iter().find(|token| !belongs(&token.token)) {
        let at = offset(text, stray.span.start);
        let shown = match &stray.token {
            Token::Whitespace(_) => "a comment".to_owned(),
            token => format!("`{token}`"),
        };
        return Err(Fault::new(
            at,
            format!("{shown} has no place in an expression"),
        ));
    }
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    if let Some(first_beyond) = tokens.get(EXPRESSION_TOKENS_MAX) {
        let (at, count) = (offset(text, first_beyond.span.start), tokens.len());
        let message = format!(
            "an expression of {count} words and signs; at most {EXPRESSION_TOKENS_MAX} are possible"
        );
        return Err(Fault::new(at, message));
    }
    Ok(tokens)
}

fn belongs(token: &Token) -> bool {
    use Token as T;
    match token {
        T::Word(word) => word.quote_style.is_none_or(|quote| quote == '"'),
        T::Whitespace(space) => matches!(
            space,
            Whitespace::Space | Whitespace::Newline | Whitespace::Tab
        ),
        T::Number(_, is_long) => !is_long,
        T::SingleQuotedString(_) | T::Comma | T::LParen | T::RParen => true,
        T::Eq | T::Neq | T::Lt | T::Gt | T::LtEq | T::GtEq => true,
        T::Plus | T::Minus | T::Mul | T::Div | T::Mod => true,
        _ => false,
    }
}

fn grammar_fault(text: &str, error: &ParserError) -> Fault {
    match error {
        ParserError::RecursionLimitExceeded => too_deep(0),
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            let (message, place) = split_place(message);
            let at = place.map_or(text.len(), |place| offset(text, place));
            let message = message
                .replace("found: EOF", "found the end")
                .replace("Expected: ", "expected ")
                .replace("found: ", "found ");
            Fault::new(at, lower_first(&message))
        }
    }
}

pub(super) fn too_deep(at: usize) -> Fault {
    Fault::new(
        at,
        format!("the expression nests more than {EXPRESSION_DEPTH_MAX} deep"),
    )
    .hint("name a part of it as a computed column")
}

/// Takes the place that the grammar writes behind its messages off; there is none at the end.
fn split_place(message: &str) -> (&str, Option<Location>) {
    let split = || {
        let (head, place) = message.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        let location = Location {
            line: line.parse().ok()?,
            column: column.parse().ok()?,
        };
        Some((head, location))
    };
    split().map_or((message, None), |(head, place)| (head, Some(place)))
}

fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

/// The offset in bytes of a place in `text`, whose lines and columns count from 1 in characters.
pub(super) fn offset(text: &str, place: Location) -> usize {
    if place.line == 0 {
        return text.len();
    }
    let lines = text.split_inclusive('\n').take(place.line as usize - 1);
    let start: usize = lines.map(str::len).sum();
    let line = text.get(start..).unwrap_or_default();
    let within = line
        .char_indices()
        .nth((place.column as usize).saturating_sub(1));
    start + within.map_or(line.len(), |(at, _)| at)
}

/// Where a part of the tree begins: its first operand, if the tree does not tell of what stands
/// before that one.
pub(super) fn start(text: &str, tree: &Expr) -> usize {
    let mut tree = tree;
    loop {
        tree = match tree {
            Expr::BinaryOp { left: inner, .. }
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::InList { expr: inner, .. }
            | Expr::Between { expr: inner, .. }
            | Expr::Like { expr: inner, .. }
            | Expr::UnaryOp { expr: inner, .. }
            | Expr::Cast { expr: inner, .. }
            | Expr::Ceil { expr: inner, .. }
            | Expr::Floor { expr: inner, .. }
            | Expr::Nested(inner) => inner,
            Expr::Interval(interval) => &interval.value,
            Expr::TypedString(typed) => return offset(text, typed.value.span.start),
            other => return offset(text, other.span().start),
        }
    }
}

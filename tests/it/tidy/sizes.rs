//! How large files and functions grow, how deep they are nested, and how many things a function asks for.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, Expr, FnArg, ImplItemFn, Item, ItemFn, ItemImpl, Signature, TraitItemFn, Type, Visibility};

use super::{files, parsed, read, root, shown};

/// A function that does not fit a screen has a second thing in it.
const MOST_LINES: usize = 80;
/// More of them are a struct. The receiver is not counted.
const MOST_PARAMETERS: usize = 5;
/// Of `if`, `match` and loops inside one another. Who reads the innermost has to remember all of them.
const MOST_NESTED: usize = 3;

#[test]
fn no_file_is_over_500_lines_and_each_says_what_it_is_for() {
    for path in files(&root(), ".rs") {
        let text = read(&path);
        assert!(text.lines().count() <= 500, "{} has {} lines", shown(&path), text.lines().count());
        assert!(text.starts_with("//!"), "{} does not say what it is for", shown(&path));
    }
}

/// A program's entrance reads its arguments and calls a library, which can be tested.
#[test]
fn no_main_is_over_40_lines() {
    for path in files(&root(), ".rs").into_iter().filter(|path| path.ends_with("src/main.rs")) {
        assert!(read(&path).lines().count() <= 40, "{} has more than 40 lines", shown(&path));
    }
}

#[test]
fn no_function_is_over_80_lines_asks_for_more_than_five_things_or_is_nested_over_three_deep() {
    let mut wrong = Vec::new();
    for path in files(&root(), ".rs") {
        let mut look = Look::default();
        look.visit_file(&parsed(&path));
        wrong.extend(look.wrong.into_iter().map(|what| format!("{}: {what}", shown(&path))));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Walks a file. What stands inside a macro's call is not seen.
#[derive(Default)]
struct Look {
    wrong: Vec<String>,
    /// Inside an `impl Trait for …`, whose signatures are somebody else's.
    of_trait: bool,
}

impl Look {
    fn judge(&mut self, visibility: &Visibility, signature: &Signature, body: Option<&Block>) {
        let name = &signature.ident;
        if let Some(body) = body {
            let lines = body.span().end().line - signature.span().start().line + 1;
            if lines > MOST_LINES {
                self.wrong.push(format!("{name} has {lines} lines"));
            }
        }
        let nested = body.map_or(0, nested);
        if nested > MOST_NESTED {
            self.wrong.push(format!("{name} is nested {nested} deep"));
        }
        if self.of_trait {
            return;
        }
        let types: Vec<_> = signature.inputs.iter().filter_map(type_of).collect();
        if types.len() > MOST_PARAMETERS {
            self.wrong.push(format!("{name} has {} parameters", types.len()));
        }
        let is_public = matches!(visibility, Visibility::Public(_));
        if is_public && types.iter().any(|of| matches!(of, Type::Path(path) if path.path.is_ident("bool"))) {
            self.wrong.push(format!("{name} asks for a bool: at the call nobody reads what it means"));
        }
    }
}

/// How deep the deepest `if`, `match` or loop stands in others.
fn nested(body: &Block) -> usize {
    let mut depth = Depth::default();
    depth.visit_block(body);
    depth.most
}

#[derive(Default)]
struct Depth {
    now: usize,
    most: usize,
}

impl Depth {
    fn deeper(&mut self, look: impl FnOnce(&mut Self)) {
        self.now += 1;
        self.most = self.most.max(self.now);
        look(self);
        self.now -= 1;
    }
}

impl<'a> Visit<'a> for Depth {
    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::If(one) => {
                self.deeper(|depth| {
                    depth.visit_expr(&one.cond);
                    depth.visit_block(&one.then_branch);
                });
                match one.else_branch.as_ref().map(|(_, other)| &**other) {
                    // An `else if` stands beside its `if`, not inside.
                    Some(other @ Expr::If(_)) => self.visit_expr(other),
                    Some(other) => self.deeper(|depth| depth.visit_expr(other)),
                    None => {}
                }
            }
            Expr::Match(_) | Expr::ForLoop(_) | Expr::While(_) | Expr::Loop(_) => {
                self.deeper(|depth| visit::visit_expr(depth, expr));
            }
            _ => visit::visit_expr(self, expr),
        }
    }

    // A function inside another is looked at by itself.
    fn visit_item(&mut self, _: &'a Item) {}
}

fn type_of(parameter: &FnArg) -> Option<&Type> {
    match parameter {
        FnArg::Typed(typed) => Some(&typed.ty),
        _ => None,
    }
}

impl<'a> Visit<'a> for Look {
    fn visit_item_fn(&mut self, function: &'a ItemFn) {
        self.judge(&function.vis, &function.sig, Some(&function.block));
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'a ImplItemFn) {
        self.judge(&function.vis, &function.sig, Some(&function.block));
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'a TraitItemFn) {
        self.judge(&Visibility::Inherited, &function.sig, function.default.as_ref());
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_item_impl(&mut self, item: &'a ItemImpl) {
        let before = std::mem::replace(&mut self.of_trait, item.trait_.is_some());
        visit::visit_item_impl(self, item);
        self.of_trait = before;
    }
}

/// Checks the size that the README promises.
#[test]
fn the_embedding_is_under_60_lines() {
    let text = read(&root().join("examples/embed/src/chat.rs"));
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    assert!(text.lines().filter(is_code).count() < 60);
}

#[test]
fn the_look_at_functions_sees_what_it_should() {
    let long = format!("fn long() {{\n{}}}", "\n".repeat(80));
    let wrong = |text: &str| {
        let mut look = Look::default();
        look.visit_file(&syn::parse_str(text).unwrap());
        look.wrong
    };
    assert_eq!(wrong(&long), ["long has 82 lines"]);
    assert_eq!(
        wrong("impl A { fn f(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8) {} }"),
        ["f has 6 parameters"]
    );
    assert_eq!(wrong("mod m { pub fn f(yes: bool) {} }").len(), 1);
    assert!(
        wrong("impl T for A { fn f(yes: bool) {} } impl A { pub fn g(&self, a: u8) -> bool { true } }")
            .is_empty()
    );
}

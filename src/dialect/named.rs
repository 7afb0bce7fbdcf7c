//! Columns that nobody named, under the names that Postgres gives them: of a call that of its function, of a cast that of
//! what is cast, else of the type, and `?column?` of what has none.

use crate::dialect::visit;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Ident, ObjectName, ObjectNamePart, Query, SelectItem, SetExpr, Spanned as _,
    TimezoneInfo, TrimWhereField, Value,
};

use super::words::folded;

const NAMELESS: &str = "?column?";

/// Names the columns of a query whose columns somebody sees.
pub fn columns(body: &mut SetExpr) {
    let select = match body {
        SetExpr::Select(select) => select,
        // They are those of its first branch.
        SetExpr::SetOperation { left, .. } => return columns(left),
        SetExpr::Query(query) => return columns(&mut query.body),
        _ => return,
    };
    let names: Vec<Option<String>> = select.projection.iter().map(name_of).collect();
    let spreads = names.iter().any(Option::is_none);
    for (at, item) in select.projection.iter_mut().enumerate() {
        let SelectItem::UnnamedExpr(expr) = &*item else { continue };
        if matches!(plain(expr), Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            continue;
        }
        let Some(Some(name)) = names.get(at) else { continue };
        let twice = names.iter().filter(|other| other.as_ref() == Some(name)).count() > 1;
        // Beside all columns of a table, the cast of one has that one's name.
        let beside_itself = spreads && matches!(plain(expr), Expr::Cast { .. });
        let shown = if twice || beside_itself { expr.to_string() } else { name.clone() };
        let mut alias = Ident::with_quote('"', shown);
        alias.span = expr.span();
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
    }
}

/// The name of a column; none of those that `*` stands for.
pub fn name_of(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some(given(expr).0.unwrap_or_else(|| NAMELESS.to_owned())),
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        _ => None,
    }
}

fn plain(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => plain(inner),
        other => other,
    }
}

/// Whether a name is one that a cast around it keeps.
type Given = (Option<String>, bool);

fn given(expr: &Expr) -> Given {
    let of = |name: &str| (Some(name.to_owned()), true);
    match expr {
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => given(inner),
        Expr::Identifier(name) => (Some(folded(name)), true),
        Expr::CompoundIdentifier(parts) => (parts.last().map(folded), true),
        Expr::CompoundFieldAccess { root, .. } => given(root),
        Expr::Function(function) => (last_of(&function.name), true),
        Expr::Cast { expr: inner, data_type, .. } => match given(inner) {
            (Some(name), true) => (Some(name), true),
            _ => (Some(type_name(data_type)), false),
        },
        Expr::TypedString(typed) => (Some(type_name(&typed.data_type)), false),
        Expr::Interval(_) => of("interval"),
        Expr::Case { else_result, .. } => match else_result.as_deref().map(given) {
            Some((Some(name), true)) => (Some(name), true),
            _ => (Some("case".to_owned()), false),
        },
        Expr::Subquery(query) => (first_of(query), true),
        Expr::Exists { .. } => of("exists"),
        Expr::Array(_) => of("array"),
        Expr::Tuple(_) => of("row"),
        Expr::Extract { .. } => of("extract"),
        Expr::Position { .. } => of("position"),
        Expr::Substring { .. } => of("substring"),
        Expr::Overlay { .. } => of("overlay"),
        Expr::Ceil { .. } => of("ceil"),
        Expr::Floor { .. } => of("floor"),
        Expr::AtTimeZone { .. } => of("timezone"),
        Expr::Trim { trim_where, .. } => of(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => (None, false),
        _ => (None, false),
    }
}

fn first_of(query: &Query) -> Option<String> {
    match query.body.as_ref() {
        SetExpr::Select(select) => select.projection.first().and_then(name_of),
        SetExpr::SetOperation { left, .. } => match left.as_ref() {
            SetExpr::Select(select) => select.projection.first().and_then(name_of),
            _ => None,
        },
        _ => None,
    }
}

fn last_of(name: &ObjectName) -> Option<String> {
    name.0.last().and_then(ObjectNamePart::as_ident).map(folded)
}

/// A type by the name that it has in Postgres's catalog.
fn type_name(data_type: &DataType) -> String {
    use DataType::{
        BigInt, Boolean, Char, CharVarying, Character, CharacterVarying, Dec, Decimal, Double,
        DoublePrecision, Float, Float4, Float8, Int, Int2, Int4, Int8, Integer, Numeric, Real, SmallInt,
        Timestamp, Varchar,
    };
    let name = match data_type {
        Int(_) | Integer(_) | Int4(_) => "int4",
        BigInt(_) | Int8(_) => "int8",
        SmallInt(_) | Int2(_) => "int2",
        Numeric(_) | Decimal(_) | Dec(_) => "numeric",
        Real | Float4 => "float4",
        Double(_) | DoublePrecision | Float(_) | Float8 => "float8",
        Boolean | DataType::Bool => "bool",
        Char(_) | Character(_) => "bpchar",
        Varchar(_) | CharVarying(_) | CharacterVarying(_) => "varchar",
        Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => "timestamptz",
        Timestamp(..) => "timestamp",
        DataType::Interval { .. } => "interval",
        DataType::Custom(name, _) => return last_of(name).unwrap_or_default(),
        DataType::Array(inner) => return element_name(inner),
        other => return other.to_string().to_lowercase(),
    };
    name.to_owned()
}

fn element_name(of: &datafusion::sql::sqlparser::ast::ArrayElemTypeDef) -> String {
    use datafusion::sql::sqlparser::ast::ArrayElemTypeDef::{AngleBracket, None, Parenthesis, SquareBracket};
    match of {
        AngleBracket(inner) | SquareBracket(inner, _) | Parenthesis(inner) => type_name(inner),
        None => String::new(),
    }
}

/// Names those of a query itself, of what it defines, and of what its FROM has in parentheses.
pub fn in_query(query: &mut Query) {
    use datafusion::sql::sqlparser::ast::{TableFactor, VisitorMut};
    struct Seen;
    impl VisitorMut for Seen {
        type Break = ();

        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            let with = query.with.iter_mut().flat_map(|with| &mut with.cte_tables);
            with.for_each(|cte| columns(&mut cte.query.body));
            ControlFlow::Continue(())
        }

        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            if let TableFactor::Derived { subquery, .. } = factor {
                columns(&mut subquery.body);
            }
            ControlFlow::Continue(())
        }
    }
    columns(&mut query.body);
    let _ = visit::change(query, &mut Seen);
}

//! Windows that Postgres does not have, and frames that the engine counts otherwise.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{NullTreatment, Sort};
use datafusion::logical_expr::{Expr, ExprSchemable, WindowFrame, WindowFrameBound, WindowFrameUnits};

use super::{Refusal, shown};

/// Aggregates that the engine does not take rows off again, as a frame that moves asks for.
const NOT_MOVING: [&str; 7] =
    ["bool_and", "bool_or", "bit_and", "bit_or", "bit_xor", "string_agg", "array_agg"];

/// A RANGE that reaches by a number over days and times, or over texts.
fn by_another_type(frame: &WindowFrame, keys: &[Sort], schema: &DFSchema) -> Option<Refusal> {
    let reaches = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::Preceding(of) | WindowFrameBound::Following(of) if !of.is_null() => {
            Some(of.to_string())
        }
        _ => None,
    };
    let offsets: Vec<String> =
        [&frame.start_bound, &frame.end_bound].into_iter().filter_map(reaches).collect();
    if frame.units != WindowFrameUnits::Range || offsets.is_empty() {
        return None;
    }
    let key = keys.first()?.expr.get_type(schema).ok()?;
    let number = offsets.iter().any(|of| of.trim().parse::<f64>().is_ok());
    if key.is_temporal() && number {
        let message =
            "a RANGE over days and times reaches by an interval in Postgres, not by a number".to_owned();
        return Some(Refusal::new(
            message,
            "write RANGE BETWEEN INTERVAL '7 days' PRECEDING AND CURRENT ROW",
        ));
    }
    key.is_string().then(|| {
        Refusal::new(
            "a RANGE over texts reaches nowhere".to_owned(),
            "count rows: ROWS BETWEEN 1 PRECEDING AND CURRENT ROW",
        )
    })
}

/// Windows that Postgres does not have, and frames that the engine counts otherwise.
pub(super) fn windowed(expr: &Expr, schema: &DFSchema) -> Option<Refusal> {
    let Expr::WindowFunction(window) = expr else { return None };
    let params = &window.params;
    if let Some(refusal) = by_another_type(&params.window_frame, &params.order_by, schema) {
        return Some(refusal);
    }
    if params.distinct {
        let message = format!("{} counts distinct values in a window, which Postgres does not", shown(expr));
        return Some(Refusal::new(message, "count them in a subquery with GROUP BY, and join it"));
    }
    if params.null_treatment == Some(NullTreatment::IgnoreNulls) {
        let message = "IGNORE NULLS is not known to Postgres up to 18".to_owned();
        return Some(Refusal::new(
            message,
            "number the values that there are: count(x) OVER (ORDER BY y), and take max(x) of each number",
        ));
    }
    let frame = &params.window_frame;
    let moves = !frame.start_bound.is_unbounded();
    if moves && NOT_MOVING.contains(&window.fun.name()) {
        let message = format!("{} over a frame that moves is not answered here", window.fun.name());
        return Some(Refusal::new(
            message,
            "join the rows of each frame in a subquery, or begin the frame with UNBOUNDED PRECEDING",
        ));
    }
    // An offset that an order's type cannot hold any more.
    let offsets = [&frame.start_bound, &frame.end_bound].into_iter().filter_map(|bound| match bound {
        WindowFrameBound::Preceding(of) | WindowFrameBound::Following(of) => {
            Some(of).filter(|of| !of.is_null())
        }
        WindowFrameBound::CurrentRow => None,
    });
    let offsets: Vec<_> = offsets.filter_map(|of| of.cast_to(&DataType::Float64).ok()).collect();
    let far = offsets.iter().any(|of| matches!(of, ScalarValue::Float64(Some(of)) if of.abs() > 1e15));
    if frame.units == WindowFrameUnits::Range && far {
        let message = "a RANGE by an integer counts otherwise where it ends beyond all integers".to_owned();
        return Some(Refusal::new(
            message,
            "order by a wider number, ORDER BY CAST(x AS bigint), and reach less far",
        ));
    }
    let place = params.args.get(1);
    let is_none = |arg: &Expr| matches!(arg, Expr::Literal(value, _) if value.cast_to(&DataType::Int64).is_ok_and(|of| matches!(of, ScalarValue::Int64(Some(..=0)))));
    let negative = |arg: &Expr| matches!(arg, Expr::Negative(_));
    if window.fun.name() == "nth_value" && place.is_some_and(|place| is_none(place) || negative(place)) {
        let message = "nth_value counts from 1".to_owned();
        return Some(Refusal::new(message, "write nth_value(x, 1)"));
    }
    let nowhere = |arg: &Expr| {
        matches!(arg, Expr::Literal(value, _) if value.is_null())
            || matches!(arg, Expr::Cast(cast) if matches!(&*cast.expr, Expr::Literal(value, _) if value.is_null()))
    };
    if ["lag", "lead"].contains(&window.fun.name()) && params.args.get(1).is_some_and(nowhere) {
        let message = "an offset of NULL counts as none here, where Postgres gives NULL".to_owned();
        return Some(Refusal::new(message, "write a number: lag(x, 1)"));
    }
    let apart = matches!(&frame.start_bound, WindowFrameBound::Following(_))
        || matches!(&frame.end_bound, WindowFrameBound::Preceding(_));
    (frame.units == WindowFrameUnits::Range && apart).then(|| {
        let message =
            "a RANGE without the current row counts rows of NULL otherwise than Postgres".to_owned();
        Refusal::new(
            message,
            "let the frame contain the current row, or join the rows of each frame in a subquery",
        )
    })
}

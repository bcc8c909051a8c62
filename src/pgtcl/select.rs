//! `pg_select`: a script for each row of a statement.

use super::Connection;
use super::failure::result_failed;
use super::handles::connection;
use super::row::{Columns, Nulls};
use super::statement::{Binding, Statement};
use crate::libpq::{PgResult, Status};
use crate::tcl::{Body, CmdResult, Exception, Failure, Flow, Interp, Iteration, Obj};
use std::rc::Rc;

const USAGE: &str = "pg_select ?-nodotfields? ?-rowbyrow? ?-withoutnulls? ?-variables? ?-paramarray \
                     var? ?-params list? ?-count var? connection queryString var proc";

const QUERY_USAGE: &str = "pg_query ?-nodotfields? ?-withoutnulls? ?-variables? ?-paramarray var? \
                           ?-params list? ?-count var? connection queryString var proc";

/// The words of a call.
#[derive(Default)]
pub(super) struct Options {
    no_dot_fields: bool,
    row_by_row: bool,
    without_nulls: bool,
    pub(super) binding: Binding,
    pub(super) count: Option<Obj>,
}

pub(super) struct Call<'a> {
    pub(super) options: Options,
    pub(super) connection: &'a Obj,
    pub(super) sql: &'a Obj,
    array: &'a Obj,
    pub(super) body: &'a Obj,
}

impl Call<'_> {
    /// Where the rows go.
    pub(super) fn target(&self, connection: &Connection) -> Target {
        let nulls = match self.options.without_nulls {
            true => Nulls::Absent,
            false => Nulls::Value(connection.null_value()),
        };
        Target {
            array: self.array.clone(),
            dots: !self.options.no_dot_fields,
            nulls,
            size: [Obj::text("::tcl::array::size"), self.array.clone()],
            present: Vec::new(),
            filled: false,
        }
    }
}

/// The words of `pg_query`: those of `pg_select`, without -rowbyrow.
///
/// # Errors
/// `TCL WRONGARGS`, `TCL LOOKUP INDEX option -rowbyrow`.
pub(super) fn parse_query<'a>(interp: Interp, words: &'a [Obj]) -> CmdResult<Call<'a>> {
    let call = parse(interp, words, QUERY_USAGE)?;
    if call.options.row_by_row {
        let code = ["TCL", "LOOKUP", "INDEX", "option", "-rowbyrow"];
        return Err(Failure::new("pg_query has no -rowbyrow", &code).into());
    }
    Ok(call)
}

fn parse<'a>(interp: Interp, words: &'a [Obj], usage: &str) -> CmdResult<Call<'a>> {
    let mut options = Options::default();
    let mut name = None;
    let mut rest = words.get(1..).unwrap_or_default();
    loop {
        match (name, rest) {
            (Some(connection), [sql, array, body]) => {
                return Ok(Call { options, connection, sql, array, body });
            }
            (_, [option, tail @ ..]) if is_option(option) => {
                rest = option_of(interp, &mut options, option, tail)?;
            }
            (None, [connection, tail @ ..]) => {
                name = Some(connection);
                rest = tail;
            }
            _ => return Err(Failure::wrong_args(usage).into()),
        }
    }
}

/// A statement may begin with the two dashes of a comment.
fn is_option(word: &Obj) -> bool {
    matches!(word.internal(), [b'-', second, ..] if *second != b'-')
}

/// Takes in one option; what follows it.
fn option_of<'a>(
    interp: Interp,
    options: &mut Options,
    option: &Obj,
    tail: &'a [Obj],
) -> CmdResult<&'a [Obj]> {
    let (binding, rest) = match (option.internal(), tail) {
        (b"-nodotfields", _) => {
            options.no_dot_fields = true;
            return Ok(tail);
        }
        (b"-rowbyrow", _) => {
            options.row_by_row = true;
            return Ok(tail);
        }
        (b"-withoutnulls", _) => {
            options.without_nulls = true;
            return Ok(tail);
        }
        (b"-count", [variable, rest @ ..]) => {
            options.count = Some(variable.clone());
            return Ok(rest);
        }
        (b"-variables", _) => (Binding::Variables, tail),
        (b"-paramarray", [array, rest @ ..]) => (Binding::Array(array.clone()), rest),
        (b"-params", [list, rest @ ..]) => (Binding::Positional(list.as_list(interp)?), rest),
        (b"-count" | b"-paramarray" | b"-params", []) => {
            return Err(Failure::wrong_args(USAGE).into());
        }
        _ => {
            let message = "-arg argument isn't one of \"-nodotfields\", \"-variables\", \
                           \"-paramarray\", \"-params\", \"-rowbyrow\", \"-count\", or \
                           \"-withoutnulls\"";
            let word = option.text_lossy();
            return Err(Failure::new(message, &["TCL", "LOOKUP", "INDEX", "option", &word]).into());
        }
    };
    let again = matches!((&binding, &options.binding), (Binding::Variables, Binding::Variables));
    if !options.binding.is_none() && !again {
        let message = "Can't combine multiple parameter flags (-variables, -paramarray, -params)";
        return Err(Failure::new(message, &["TCL", "WRONGARGS"]).into());
    }
    options.binding = binding;
    Ok(rest)
}

/// `pg_select ?options? conn sql arrayVar body`.
pub(super) fn select(interp: Interp, words: &[Obj]) -> Result<Flow, Exception> {
    let call = parse(interp, words, USAGE)?;
    let connection = connection(interp, call.connection)?;
    let conn = connection.statement_conn()?;
    let target = call.target(&connection);
    let Call { options, sql, body, .. } = call;
    let statement = Statement::bind(interp, sql, options.binding)?;
    let count = options.count;
    if options.row_by_row {
        statement.send(&conn)?;
        // Refused only when rows have arrived already, which cannot be: nothing was read yet.
        let _ = conn.set_single_row_mode();
        connection.set_streaming(true);
        let rows = Streamed { connection, target, shape: None, count };
        return Ok(Flow::Body(Body::new("pg_select", body.clone(), rows)));
    }
    let result = statement.exec(&conn)?;
    connection.begin_copy(&result, None);
    if result.status() != Status::TuplesOk {
        return Err(result_failed(&result, connection.codes()));
    }
    let rows = buffered(interp, result, target, count)?;
    Ok(Flow::Body(Body::new("pg_select", body.clone(), rows)))
}

/// The rows of a result, for a body; their number into the variable `count`.
///
/// # Errors
/// Tcl's own, of the variable.
pub(super) fn buffered(
    interp: Interp,
    result: PgResult,
    target: Target,
    count: Option<Obj>,
) -> CmdResult<Buffered> {
    if let Some(count) = count {
        interp.set_var(&count, None, &Obj::from(result.ntuples() as u64))?;
    }
    let shape = Shape::of(&result);
    Ok(Buffered { result, row: 0, target, shape })
}

/// Where rows go.
pub(super) struct Target {
    array: Obj,
    dots: bool,
    nulls: Nulls,
    /// `array size ARRAY`.
    size: [Obj; 2],
    /// Which columns the row before has left in the array, where NULL leaves none.
    present: Vec<bool>,
    /// The array is as a row of the present shape left it, unless the script has changed it.
    filled: bool,
}

/// What the rows of a result have in common.
struct Shape {
    columns: Columns,
    headers: Obj,
    numcols: Obj,
    dot_names: [Obj; 3],
}

impl Shape {
    fn of(result: &PgResult) -> Shape {
        let columns = Columns::of(result);
        Shape {
            headers: columns.list(),
            numcols: Obj::from(columns.names().len() as u64),
            dot_names: [Obj::text(".headers"), Obj::text(".numcols"), Obj::text(".tupno")],
            columns,
        }
    }
}

impl Target {
    /// Fills the array with a row, and nothing else.
    ///
    /// To unset an array and to make its elements anew takes Tcl longer than all the rest; so the
    /// elements of the row before are written over, and what comes of it is counted: any other
    /// element shows.
    fn fill(
        &mut self,
        interp: Interp,
        shape: &Shape,
        result: &PgResult,
        row: usize,
    ) -> CmdResult<()> {
        if std::mem::take(&mut self.filled)
            && let Ok(set) = self.set(interp, shape, result, row)
            && self.size(interp) == Some(set)
        {
            self.filled = true;
            return Ok(());
        }
        interp.unset_var(&self.array, None);
        self.present.clear();
        self.present.resize(shape.columns.names().len(), false);
        self.set(interp, shape, result, row)?;
        self.filled = shape.columns.are_distinct();
        Ok(())
    }

    /// Number of elements in the array.
    fn size(&self, interp: Interp) -> Option<usize> {
        let size = interp.call_here(&self.size).and_then(|size| size.as_int(interp)).ok()?;
        usize::try_from(size).ok()
    }

    /// Sets a row's elements; how many.
    fn set(
        &mut self,
        interp: Interp,
        shape: &Shape,
        result: &PgResult,
        row: usize,
    ) -> CmdResult<usize> {
        let array = &self.array;
        let mut set = 0;
        if self.dots {
            let [headers, numcols, tupno] = &shape.dot_names;
            interp.set_var(array, Some(headers), &shape.headers)?;
            interp.set_var(array, Some(numcols), &shape.numcols)?;
            interp.set_var(array, Some(tupno), &Obj::from(row as u64))?;
            set += shape.dot_names.len();
        }
        let columns = &shape.columns;
        Ok(set
            + match &self.nulls {
                Nulls::Absent => columns.set_over(interp, array, result, row, &mut self.present)?,
                nulls => columns.set(interp, Some(array), result, row, nulls)?,
            })
    }
}

/// Rows that have all arrived: the script may use or end the connection.
pub(super) struct Buffered {
    result: PgResult,
    row: usize,
    target: Target,
    shape: Shape,
}

impl Iteration for Buffered {
    fn next(&mut self, interp: Interp) -> CmdResult<bool> {
        if self.row >= self.result.ntuples() {
            return Ok(false);
        }
        let Buffered { result, row, target, shape } = self;
        target.fill(interp, shape, result, *row)?;
        self.row += 1;
        Ok(true)
    }

    fn gives_last(&self) -> bool {
        true
    }

    fn finish(&mut self, interp: Interp) -> CmdResult {
        interp.unset_var(&self.target.array, None);
        Ok(Obj::empty())
    }

    fn abandon(&mut self, interp: Interp) {
        interp.unset_var(&self.target.array, None);
    }
}

/// Rows as they arrive, one in memory at a time. The connection takes no other statement meanwhile.
struct Streamed {
    connection: Rc<Connection>,
    target: Target,
    /// Of the statement whose rows are arriving.
    shape: Option<Shape>,
    count: Option<Obj>,
}

impl Streamed {
    fn set_count(&self, interp: Interp, count: u64) -> CmdResult<()> {
        match &self.count {
            Some(variable) => interp.set_var(variable, None, &Obj::from(count)),
            None => Ok(()),
        }
    }

    /// Lets the rest of the rows arrive and go.
    fn end(&mut self, interp: Interp) {
        self.connection.set_streaming(false);
        if let Ok(conn) = self.connection.conn() {
            while let Some(result) = conn.get_result() {
                if matches!(result.status(), Status::CopyIn | Status::CopyOut) {
                    self.connection.begin_copy(&result, None);
                    break;
                }
            }
        }
        interp.unset_var(&self.target.array, None);
    }
}

impl Iteration for Streamed {
    fn next(&mut self, interp: Interp) -> CmdResult<bool> {
        let conn = self.connection.conn()?;
        while let Some(result) = conn.get_result() {
            match result.status() {
                Status::SingleTuple => {
                    self.set_count(interp, 1)?;
                    let shape = self.shape.get_or_insert_with(|| Shape::of(&result));
                    self.target.fill(interp, shape, &result, 0)?;
                    return Ok(true);
                }
                // The end of a statement's rows.
                Status::TuplesOk => {
                    self.target.filled = false;
                    if self.shape.take().is_none() {
                        self.set_count(interp, 0)?;
                    }
                }
                _ => {
                    self.connection.begin_copy(&result, None);
                    return Err(result_failed(&result, self.connection.codes()));
                }
            }
        }
        Ok(false)
    }

    fn gives_last(&self) -> bool {
        true
    }

    fn finish(&mut self, interp: Interp) -> CmdResult {
        self.end(interp);
        Ok(Obj::empty())
    }

    fn abandon(&mut self, interp: Interp) {
        self.end(interp);
    }
}

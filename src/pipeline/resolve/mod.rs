//! From what the file says to what it means, every mistake reported at once.

mod built_in;
mod calendar;
mod control;
mod declared;
mod facts;
mod history;
mod inferred;
mod junk;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Document};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::{ModelName, list, nearest};
use crate::pipeline::file::{self, Extent, PipelineFile, Text};
use crate::pipeline::model::{Body, COMBINATION, Lookup, Model, Role, UnknownMax};
use crate::pipeline::model_file::{ModelFile, RoleWord};
use crate::pipeline::section::{Notes, Spanned};
use crate::pipeline::sql::SelectSql;
use crate::pipeline::{Deployment, Pipeline};

/// Reads `pipelines/<name>.toml` and the SQL of its models.
///
/// Gives the pipeline, or one error that carries every mistake with its place. The source isn't
/// asked; whether tables and columns exist is the plan's to say.
pub fn read(path: &Path) -> Result<Pipeline> {
    checked(resolved(path, Extent::Whole, |resolver, file| resolver.pipeline(file, path))?)
}

/// The same with its mistakes beside it: what of its models could be read is held against the source for more
/// of them.
pub fn read_with_mistakes(path: &Path) -> Result<(Option<Pipeline>, Vec<Diagnostic>)> {
    let mut declared = Vec::new();
    let (pipeline, _, found) = resolved(path, Extent::Whole, |resolver, file| {
        declared = file.models.iter().map(|model| model.name.value.clone()).collect();
        resolver.pipeline(file, path)
    })?;
    let pipeline = pipeline.map(|mut pipeline| {
        let read = |name: &String| pipeline.models.iter().any(|model| model.name.as_str() == name);
        pipeline.unread = declared.into_iter().filter(|name| !read(name)).collect();
        pipeline
    });
    Ok((pipeline, found))
}

/// The same without its models, which need not be right, nor be there, where none of them is built.
pub fn read_source(path: &Path) -> Result<Pipeline> {
    checked(resolved(path, Extent::Whole, |resolver, file| {
        let (deployment, source) = (resolver.deployment(&file, path), resolver.source(&file));
        let (models, controls, warnings) = (Vec::new(), Vec::new(), Vec::new());
        let unread = Vec::new();
        Some(Pipeline { deployment: deployment?, source: source?, models, controls, warnings, unread })
    })?)
}

fn checked((resolved, document, found): (Option<Pipeline>, Document, Vec<Diagnostic>)) -> Result<Pipeline> {
    match resolved {
        Some(mut pipeline) if !found.iter().any(Diagnostic::is_error) => {
            pipeline.warnings = found;
            Ok(pipeline)
        }
        _ => Err(mistakes(&document.path, found)),
    }
}

/// Reads only where a pipeline runs and what becomes of its star. Neither source nor models are
/// looked at: who rolls a star back at night must not need them to be right.
pub fn deployment(path: &Path) -> Result<Deployment> {
    let (resolved, document, found) =
        resolved(path, Extent::Deployment, |resolver, file| resolver.deployment(&file, path))?;
    match resolved {
        Some(deployment) if !found.iter().any(Diagnostic::is_error) => Ok(deployment),
        _ => Err(mistakes(&document.path, found)),
    }
}

fn resolved<T>(
    path: &Path,
    extent: Extent,
    resolve: impl FnOnce(Resolver, PipelineFile) -> T,
) -> Result<(T, Document, Vec<Diagnostic>)> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .or_error(ErrorKind::Pipeline, || format!("cannot read the pipeline {shown}"))
        .map_err(|error| error.hint("give the path of a pipeline: pipelines/<name>.toml"))?;
    let notes = Notes::new(Document::new(shown.as_str(), text));
    let file = file::parse(&notes, extent);
    let project = project_folder(path)?;
    let resolved = resolve(Resolver { notes: &notes, project: &project }, file);
    let document = notes.document.clone();
    Ok((resolved, document, notes.into_vec()))
}

/// One error for all mistakes of a pipeline.
pub fn mistakes(path: &str, found: Vec<Diagnostic>) -> Error {
    let errors = found.iter().filter(|diagnostic| diagnostic.is_error()).count();
    let noun = if errors == 1 { "mistake" } else { "mistakes" };
    Error::new(ErrorKind::Pipeline, format!("{errors} {noun} in {path}")).with_diagnostics(found)
}

/// `shop/pipelines/shop.toml` belongs to the project `shop/`; a pipeline elsewhere, to its folder.
fn project_folder(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path)
        .or_error(ErrorKind::Pipeline, || format!("cannot resolve the path {}", path.display()))?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let project = match folder.file_name() {
        Some(name) if name == "pipelines" => folder.parent().unwrap_or(folder),
        _ => folder,
    };
    Ok(project.to_owned())
}

/// What a pipeline is named after unless it says otherwise.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

pub(super) struct Resolver<'a> {
    pub(super) notes: &'a Notes,
    pub(super) project: &'a Path,
}

impl Resolver<'_> {
    fn pipeline(&self, file: PipelineFile, path: &Path) -> Option<Pipeline> {
        let stem = stem(path);
        let deployment = self.deployment(&file, path);
        let source = self.source(&file);
        let models = self.models(&file.models, &stem);
        let controls = self.controls(&file.models, &models);
        let models = junk::asked_for(self.with_inferred(models), &controls);
        let (models, controls) = (self.in_build_order(models)?, controls);
        let (warnings, unread) = (Vec::new(), Vec::new());
        Some(Pipeline { deployment: deployment?, source: source?, models, controls, warnings, unread })
    }

    fn models(&self, files: &[ModelFile], stem: &str) -> Vec<Model> {
        if files.is_empty() {
            self.notes.error(
                0..0,
                "the pipeline has no models",
                "add a [dimension.…], [fact.…] or [summary.…]",
            );
        }
        let mut names: BTreeSet<&str> = BTreeSet::new();
        let mut models = Vec::new();
        for file in files {
            if !names.insert(&file.name.value) {
                let message = format!("two models are named `{}`", file.name.value);
                self.notes.error(file.place.clone(), message, "every table of a star has a name of its own");
            }
            models.extend(self.model(file, files, stem));
        }
        models
    }

    fn model(&self, file: &ModelFile, all: &[ModelFile], stem: &str) -> Option<Model> {
        let Some(name) = ModelName::parse(&file.name.value) else {
            self.notes.error(
                file.name.span.clone(),
                format!("`{}` cannot name a model", file.name.value),
                "use lower-case letters, digits and underscores, at most 63",
            );
            return None;
        };
        self.check_junk(file, all);
        let is_junk = !file.from.is_empty();
        let body = match (&file.dates, &file.times) {
            (Some(dates), _) => self.calendar(dates).map(Body::Calendar),
            (None, Some(times)) => self.times(times).map(Body::Times),
            (None, None) if is_junk => self.junk(file).map(Body::Junk),
            (None, None) => self.model_sql(stem, &name, &file.place).map(Body::Sql),
        };
        let key = match (&file.key, file.role) {
            (_, RoleWord::Dimension) if file.built_in().is_some() => self.built_in_key(file),
            (Some(key), _) if !key.is_empty() => key.clone(),
            (_, RoleWord::Dimension) if is_junk => {
                vec![Spanned { value: COMBINATION.to_owned(), span: file.place.clone() }]
            }
            (_, RoleWord::Summary) => Vec::new(),
            (_, RoleWord::Dimension) => {
                self.needs(file, "key", "key = [\"customer_id\"]");
                Vec::new()
            }
            (_, RoleWord::Fact | RoleWord::Bridge) => {
                self.needs(file, "key", "key = [\"item_id\"]");
                Vec::new()
            }
        };
        self.check_built_in(file);
        let role = match file.role {
            RoleWord::Summary => Role::Summary,
            RoleWord::Fact | RoleWord::Bridge => Role::Fact {
                kind: self.fact_kind(file),
                lookups: self.lookups(file, all).into_iter().chain(self.junk_lookups(file, all)).collect(),
                measures: file.measures.iter().map(|(column, _)| column.clone()).collect(),
                allow_float: file.allow_float.clone(),
            },
            RoleWord::Dimension => Role::Dimension {
                surrogate: self.surrogate(file, &name),
                history: file.history.as_ref().and_then(|history| self.history(history, file)),
                unknown: file.unknown.as_ref().map_or_else(|| UNKNOWN.to_owned(), |text| text.value.clone()),
            },
        };
        if !file.first_seen.is_empty() && key.is_empty() {
            self.needs(file, "key", "key = [\"order_id\"], by which its rows are known again");
        }
        let reads = match &body {
            Some(Body::Sql(sql)) => reads(sql, &name, all.iter().map(|model| model.name.value.as_str())),
            _ => Vec::new(),
        };
        let mut reads: BTreeSet<ModelName> = reads.into_iter().collect();
        if let Role::Fact { lookups, .. } = &role {
            reads.extend(lookups.iter().map(|lookup| lookup.dimension.clone()));
        }
        Some(Model {
            name,
            role,
            key,
            body: body?,
            order_by: file.order_by.clone(),
            indexes: file.indexes.clone(),
            first_seen: file.first_seen.clone(),
            reads: reads.into_iter().collect(),
            asked_for: BTreeSet::new(),
            declared: self.declared(file),
            place: file.place.clone(),
        })
    }

    fn needs(&self, file: &ModelFile, what: &str, example: &str) {
        let message = format!("`{}` needs a {what}", file.name.value);
        self.notes.error(file.place.clone(), message, format!("add `{example}`"));
    }

    fn model_sql(&self, stem: &str, name: &ModelName, place: &Range<usize>) -> Option<SelectSql> {
        let relative = format!("sql/{stem}/{name}.sql");
        match std::fs::read_to_string(self.project.join(&relative)) {
            Ok(text) => match SelectSql::parse(Document::new(relative, text)) {
                Ok((sql, refused)) => {
                    refused.into_iter().for_each(|diagnostic| self.notes.add(diagnostic));
                    Some(sql)
                }
                Err(found) => {
                    found.into_iter().for_each(|diagnostic| self.notes.add(diagnostic));
                    None
                }
            },
            Err(error) => {
                let message = format!("the model `{name}` has no SQL file: {relative}: {error}");
                let help = "write its SELECT into that file, or remove the model";
                self.notes.error(place.clone(), message, help);
                None
            }
        }
    }

    fn lookups(&self, file: &ModelFile, all: &[ModelFile]) -> Vec<Lookup> {
        let mut lookups = Vec::new();
        for lookup in &file.lookups {
            let wanted = &lookup.dimension.value;
            let dimensions = || all.iter().filter(|model| model.role == RoleWord::Dimension);
            let Some(dimension) = dimensions().find(|model| &model.name.value == wanted) else {
                let names: Vec<&str> = dimensions().map(|model| model.name.value.as_str()).collect();
                let help = match nearest(wanted, names.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`? Dimensions: {}", list(&names)),
                    None => format!("dimensions: {}", list(&names)),
                };
                self.notes.error(
                    lookup.dimension.span.clone(),
                    format!("there is no dimension `{wanted}`"),
                    help,
                );
                continue;
            };
            let built_in = dimension.built_in();
            let key: Vec<String> = match (&dimension.key, &built_in) {
                (_, Some(built_in)) => vec![built_in.key.to_owned()],
                (Some(key), None) => key.iter().map(|column| column.value.clone()).collect(),
                (None, None) if !dimension.from.is_empty() => {
                    let message = format!("`{wanted}` is made of combinations, and looked up by itself");
                    let help = format!("remove the lookup; facts that `from` of {wanted} names get its key");
                    self.notes.error(lookup.column.span.clone(), message, help);
                    continue;
                }
                (None, None) => continue,
            };
            let given: BTreeSet<&str> = lookup.on.iter().map(|(name, _)| name.value.as_str()).collect();
            if given != key.iter().map(String::as_str).collect() {
                self.notes.error(
                    lookup.column.span.clone(),
                    format!("`on` must name the key of `{wanted}`: {}", list(&key)),
                    format!(
                        "write on = {{ {} }}",
                        key.iter().map(|k| format!("{k} = \"…\"")).collect::<Vec<_>>().join(", ")
                    ),
                );
                continue;
            }
            self.as_of(lookup, dimension);
            self.inferred(lookup, dimension);
            self.inferred_of_now(lookup, file);
            self.grown_of_now(lookup, file, dimension);
            let Some(dimension) = ModelName::parse(wanted) else { continue };
            let on = lookup.on.iter().map(|(key, column)| (key.value.clone(), column.clone())).collect();
            let unknown_max = match &lookup.unknown_max {
                Some(bound) => self.unknown_max(bound),
                // A day that the calendar lacks is a mistake of the calendar.
                None => built_in.is_some().then_some(UnknownMax::Rows(0)),
            };
            let (column, as_of) = (lookup.column.clone(), lookup.as_of.clone());
            let inferred = lookup.inferred.as_ref().is_some_and(|inferred| inferred.value);
            lookups.push(Lookup {
                column,
                dimension,
                on,
                as_of,
                unknown_max,
                inferred,
                is_combination: false,
            });
        }
        lookups
    }

    fn unknown_max(&self, bound: &Text) -> Option<UnknownMax> {
        let parsed = UnknownMax::parse(&bound.value);
        if parsed.is_none() {
            let message = format!("`unknown_max` cannot be `{}`", bound.value);
            let help = "write a number of rows, such as 0, or a share of them, such as \"0.5%\"";
            self.notes.error(bound.span.clone(), message, help);
        }
        parsed
    }

    /// Orders models so that each comes after those it reads; names the circle if there is one.
    fn in_build_order(&self, models: Vec<Model>) -> Option<Vec<Model>> {
        let mut waiting = models;
        let mut ordered: Vec<Model> = Vec::new();
        loop {
            let names: BTreeSet<ModelName> = waiting.iter().map(|model| model.name.clone()).collect();
            let (ready, rest): (Vec<Model>, Vec<Model>) =
                waiting.into_iter().partition(|model| !model.reads.iter().any(|read| names.contains(read)));
            let stuck = ready.is_empty();
            ordered.extend(ready);
            waiting = rest;
            if waiting.is_empty() {
                return Some(ordered);
            }
            if stuck {
                let circle = circle(&waiting);
                self.notes.error(
                    waiting[0].place.clone(),
                    format!("models read each other in a circle: {circle}"),
                    "a model may read only models that can be built before it; a model's own name in its SQL means the source table",
                );
                return None;
            }
        }
    }
}

fn circle(models: &[Model]) -> String {
    let mut path: Vec<&ModelName> = vec![&models[0].name];
    loop {
        let last = path[path.len() - 1];
        let next = models
            .iter()
            .find(|model| &model.name == last)
            .and_then(|model| model.reads.iter().find(|read| models.iter().any(|m| &m.name == *read)));
        let Some(next) = next else { break };
        if let Some(start) = path.iter().position(|name| *name == next) {
            path.drain(..start);
            path.push(next);
            break;
        }
        path.push(next);
    }
    path.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" → ")
}

/// What the texts of an unknown member say, unless the pipeline says it.
const UNKNOWN: &str = "Unknown";

/// The models that a query reads: unqualified names that are models, but not its own.
fn reads<'a>(sql: &SelectSql, own: &ModelName, all: impl Iterator<Item = &'a str> + Clone) -> Vec<ModelName> {
    sql.relations()
        .iter()
        .filter(|relation| relation.schema.is_none() && relation.table != own.as_str())
        .filter(|relation| all.clone().any(|model| model == relation.table))
        .filter_map(|relation| ModelName::parse(&relation.table))
        .collect()
}

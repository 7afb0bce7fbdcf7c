//! Views of others over a column that gets another type. Where the pipeline says so they are set aside, and put back as they were
//! once the rows are written: definition, options, owner, grants, comments, defaults and indexes.

use std::sync::PoisonError;

use super::Loader;
use super::depending::{self, Fate};
use super::hung::oid;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{quote_identifier as quote, quote_literal};

/// A view that is to be put back.
pub struct SetAside {
    /// Its whole name, quoted where it must be.
    pub name: String,
    is_materialized: bool,
    create: String,
    /// What is said of it, and of its columns, and what else it has: statements, in order.
    rest: Vec<String>,
    owner: String,
    grants: Vec<String>,
}

/// Something over a column.
struct Over {
    oid: u32,
    /// Its whole name, quoted where it must be.
    name: String,
    kind: String,
    /// Why it cannot be put back.
    stays: Option<String>,
}

/// The views over a column, and those over them, each after what it reads.
async fn over(loader: &Loader<'_>, table: &str, column: &str) -> Result<Vec<Over>> {
    let query = "WITH RECURSIVE v(oid, depth) AS ( \
           SELECT w.ev_class, 1 FROM pg_depend AS d JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
             JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid \
             WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND a.attname = $2::text AND d.deptype = 'n' AND w.ev_class <> $1 \
           UNION SELECT w.ev_class, v.depth + 1 FROM v JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = v.oid AND d.deptype = 'n' \
             JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid JOIN pg_class AS c ON c.oid = v.oid \
             WHERE w.ev_class NOT IN (v.oid, $1) AND c.relkind IN ('v', 'm') AND w.rulename = '_RETURN') \
         SELECT c.oid, format('%I.%I', n.nspname, c.relname), CASE c.relkind WHEN 'v' THEN 'the view ' WHEN 'm' THEN 'the materialized view ' ELSE 'the table ' END, CASE \
             WHEN c.relkind NOT IN ('v', 'm') THEN 'a rule of it reads the column' \
             WHEN NOT pg_has_role(c.relowner, 'USAGE') THEN 'it belongs to ' || pg_get_userbyid(c.relowner) \
             WHEN EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal) THEN 'it has triggers' \
             WHEN EXISTS (SELECT FROM pg_rewrite AS r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN') THEN 'it has rules' \
             WHEN EXISTS (SELECT FROM pg_statistic_ext AS s WHERE s.stxrelid = c.oid) THEN 'it has statistics' \
             WHEN EXISTS (SELECT FROM pg_seclabel AS l WHERE l.classoid = 'pg_class'::regclass AND l.objoid = c.oid) THEN 'it has security labels' \
             WHEN EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') THEN 'it belongs to an extension' \
             ELSE (SELECT pg_describe_object(d.classid, d.objid, d.objsubid) || ' depends on it' FROM pg_depend AS d \
                   WHERE d.deptype = 'n' AND (d.classid <> 'pg_rewrite'::regclass OR (SELECT w.rulename FROM pg_rewrite AS w WHERE w.oid = d.objid) <> '_RETURN') \
                     AND (d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid OR d.refclassid = 'pg_type'::regclass AND d.refobjid = c.reltype) LIMIT 1) END \
         FROM (SELECT oid, max(depth) AS depth FROM v GROUP BY oid) AS v JOIN pg_class AS c ON c.oid = v.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         ORDER BY v.depth, 2";
    let rows = loader.client.query(query, &[&oid(loader, table).await?, &column]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show the views over its tables"))?;
    let over = |row: &tokio_postgres::Row| Over {
        oid: row.get(0),
        name: row.get(1),
        kind: row.get(2),
        stays: row.get(3),
    };
    Ok(rows.iter().map(over).collect())
}

/// What depends on a column and cannot be set aside while it gets another type.
pub async fn in_the_way(loader: &Loader<'_>, table: &str, column: &str) -> Result<Vec<String>> {
    if !loader.target.recreates_views {
        return depending::on_column(loader, table, column, Fate::Retyped).await;
    }
    let mut found = depending::on_column(loader, table, column, Fate::RetypedBelowViews).await?;
    let over = over(loader, table, column).await?;
    found.extend(
        over.into_iter().filter_map(|over| Some(format!("{}{} ({})", over.kind, over.name, over.stays?))),
    );
    Ok(found)
}

/// Sets the views over a column aside.
pub async fn set_aside(loader: &Loader<'_>, table: &str, column: &str) -> Result<()> {
    if !loader.target.recreates_views {
        return Ok(());
    }
    let over = over(loader, table, column).await?;
    let mut found = Vec::new();
    for Over { oid, name, .. } in over {
        found.push(read(loader, oid, name).await?);
    }
    for view in found.iter().rev() {
        let kind = kind(view.is_materialized);
        loader
            .execute(&format!("DROP {kind} {}", view.name), &format!("set the view {} aside", view.name))
            .await?;
    }
    // What was set aside before may read these.
    loader.set_aside.lock().unwrap_or_else(PoisonError::into_inner).splice(0..0, found);
    Ok(())
}

fn kind(is_materialized: bool) -> &'static str {
    if is_materialized { "MATERIALIZED VIEW" } else { "VIEW" }
}

/// All that is to be put back of a view.
async fn read(loader: &Loader<'_>, oid: u32, name: String) -> Result<SetAside> {
    let doing = format!("show the view {name}");
    let query = "SELECT c.relkind = 'm', rtrim(pg_get_viewdef(c.oid), E'; \\n'), array_to_string(c.reloptions, ', '), c.relispopulated, \
            pg_get_userbyid(c.relowner)::text, obj_description(c.oid, 'pg_class'), (SELECT m.amname::text FROM pg_am AS m WHERE m.oid = c.relam), \
            (SELECT t.spcname::text FROM pg_tablespace AS t WHERE t.oid = c.reltablespace) \
         FROM pg_class AS c WHERE c.oid = $1";
    let row = loader.client.query_one(query, &[&oid]).await;
    let row = row.map_err(|error| loader.failed(error, &doing))?;
    let (is_materialized, definition): (bool, String) = (row.get(0), row.get(1));
    let (options, populated, owner): (Option<String>, bool, String) = (row.get(2), row.get(3), row.get(4));
    let (comment, method, space): (Option<String>, Option<String>, Option<String>) =
        (row.get(5), row.get(6), row.get(7));
    let kind = kind(is_materialized);
    let with = options.map(|options| format!(" WITH ({options})")).unwrap_or_default();
    let using = method.map(|method| format!(" USING {}", quote(&method))).unwrap_or_default();
    let space = space.map(|space| format!(" TABLESPACE {}", quote(&space))).unwrap_or_default();
    let create = match is_materialized {
        true => {
            let data = if populated { "DATA" } else { "NO DATA" };
            format!("CREATE {kind} {name}{using}{with}{space} AS {definition} WITH {data}")
        }
        false => format!("CREATE {kind} {name}{with} AS {definition}"),
    };
    let mut rest = Vec::new();
    rest.extend(comment.map(|text| format!("COMMENT ON {kind} {name} IS {}", quote_literal(&text))));
    let columns = "SELECT format('COMMENT ON COLUMN %s.%I IS %L', $2::text, a.attname, col_description(a.attrelid, a.attnum)) \
           FROM pg_attribute AS a WHERE a.attrelid = $1 AND a.attnum > 0 AND col_description(a.attrelid, a.attnum) IS NOT NULL \
         UNION ALL SELECT format('ALTER VIEW %s ALTER COLUMN %I SET DEFAULT %s', $2::text, a.attname, pg_get_expr(f.adbin, f.adrelid)) \
           FROM pg_attrdef AS f JOIN pg_attribute AS a ON a.attrelid = f.adrelid AND a.attnum = f.adnum WHERE f.adrelid = $1 \
         UNION ALL SELECT format('ALTER MATERIALIZED VIEW %s ALTER COLUMN %I SET STATISTICS %s', $2::text, a.attname, a.attstattarget) \
           FROM pg_attribute AS a WHERE a.attrelid = $1 AND a.attnum > 0 AND a.attstattarget >= 0 \
         UNION ALL SELECT said FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_namespace AS n ON n.oid = i.relnamespace, \
           LATERAL (VALUES (1, pg_get_indexdef(i.oid)), \
             (2, (SELECT format('ALTER INDEX %I.%I SET TABLESPACE %I', n.nspname, i.relname, s.spcname) FROM pg_tablespace AS s WHERE s.oid = i.reltablespace)), \
             (3, format('COMMENT ON INDEX %I.%I IS %L', n.nspname, i.relname, obj_description(i.oid, 'pg_class'))), \
             (4, CASE WHEN x.indisclustered THEN format('ALTER MATERIALIZED VIEW %s CLUSTER ON %I', $2::text, i.relname) END)) AS t(place, said) \
           WHERE x.indrelid = $1 AND said IS NOT NULL AND (place <> 3 OR obj_description(i.oid, 'pg_class') IS NOT NULL)";
    rest.extend(texts(loader, columns, oid, &name, &doing).await?);
    let grants = "SELECT format('GRANT %s ON %s TO %s%s', x.privilege_type, $2::text, \
                CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END, CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) \
           FROM pg_class AS c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS x WHERE c.oid = $1 \
         UNION ALL SELECT format('GRANT %s (%I) ON %s TO %s%s', x.privilege_type, a.attname, $2::text, \
                CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END, CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) \
           FROM pg_attribute AS a, aclexplode(a.attacl) AS x WHERE a.attrelid = $1 AND a.attnum > 0";
    let grants = texts(loader, grants, oid, &name, &doing).await?;
    Ok(SetAside { name, is_materialized, create, rest, owner, grants })
}

async fn texts(loader: &Loader<'_>, query: &str, oid: u32, name: &str, doing: &str) -> Result<Vec<String>> {
    let rows = loader.client.query(query, &[&oid, &name]).await;
    let rows = rows.map_err(|error| loader.failed(error, doing))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Puts back what was set aside; gives the names.
pub async fn put_back(loader: &Loader<'_>) -> Result<Vec<String>> {
    let views = std::mem::take(&mut *loader.set_aside.lock().unwrap_or_else(PoisonError::into_inner));
    let mut names = Vec::new();
    for view in views {
        put_one_back(loader, &view).await.map_err(|error| {
            let message = format!("the view {} reads what got another type, and cannot be made again", view.name);
            Error::new(ErrorKind::Store, message).caused_by(error).hint(
                "drop it by hand, deliver again, and make it anew; or keep the column's type with a CAST in the model",
            )
        })?;
        names.push(view.name);
    }
    Ok(names)
}

async fn put_one_back(loader: &Loader<'_>, view: &SetAside) -> Result<()> {
    let (name, kind) = (&view.name, kind(view.is_materialized));
    let doing = format!("make the view {name} again");
    loader.execute(&view.create, &doing).await?;
    for statement in &view.rest {
        loader.execute(statement, &doing).await?;
    }
    loader.execute(&format!("ALTER {kind} {name} OWNER TO {}", quote(&view.owner)), &doing).await?;
    // What a new view is granted by default was perhaps not what this one was.
    let given = "SELECT DISTINCT format('REVOKE ALL ON %s FROM %s', $2::text, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END) \
         FROM pg_class AS c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS x WHERE c.oid = $1";
    let row = loader.client.query_one("SELECT to_regclass($1)::oid", &[name]).await;
    let oid: u32 = row.map_err(|error| loader.failed(error, &doing))?.get(0);
    if !view.grants.is_empty() {
        for statement in texts(loader, given, oid, name, &doing).await? {
            loader.execute(&statement, &doing).await?;
        }
    }
    for statement in &view.grants {
        loader.execute(statement, &doing).await?;
    }
    Ok(())
}

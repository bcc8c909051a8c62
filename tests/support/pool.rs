//! Debian's pgbouncer before a cluster.

use super::{Cluster, wait_for};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running pgbouncer, ended with this value.
pub struct Pool {
    dir: tempfile::TempDir,
    child: Child,
}

impl Pool {
    /// Starts one for a database: `mode` is `session` or `transaction`.
    ///
    /// # Panics
    /// When it is not installed (`tools/install-packages test`), or does not start.
    pub fn start(cluster: &Cluster, database: &str, mode: &str) -> Pool {
        let dir = tempfile::Builder::new().prefix("pgsqlite-pool-").tempdir().expect("folder");
        let at = dir.path().display();
        let host = cluster.conninfo(database);
        let host = host.split_whitespace().find_map(|word| word.strip_prefix("host="));
        let ini = format!(
            "[databases]\n{database} = host={} port=5432 user=postgres dbname={database}\n\
             [pgbouncer]\nlisten_port = 6432\nunix_socket_dir = {at}\nauth_type = any\n\
             pool_mode = {mode}\ndefault_pool_size = 8\nmax_client_conn = 100\n\
             logfile = {at}/log\nlog_connections = 0\n",
            host.expect("host")
        );
        let config = dir.path().join("pgbouncer.ini");
        std::fs::write(&config, ini).expect("configuration");
        let root = rustix::process::getuid().is_root();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if root {
            let done = Command::new("chown").args(["-R", "postgres"]).arg(dir.path()).status();
            assert!(done.is_ok_and(|status| status.success()), "chown");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
        }
        command.arg("--").arg(program()).arg("-q").arg(&config);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = child.spawn().expect("pgbouncer");
        let pool = Pool { dir, child };
        let conninfo = pool.conninfo(database);
        wait_for("pgbouncer", Duration::from_secs(20), || {
            postgres::Client::connect(&conninfo, postgres::NoTls).ok()
        });
        pool
    }

    /// Connection parameters for the database through the pool.
    pub fn conninfo(&self, database: &str) -> String {
        format!("host={} port=6432 user=postgres dbname={database}", self.dir.path().display())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> &'static str {
    // Debian puts it where the PATH of an ordinary user does not look.
    let debian = "/usr/sbin/pgbouncer";
    if Path::new(debian).exists() { debian } else { "pgbouncer" }
}

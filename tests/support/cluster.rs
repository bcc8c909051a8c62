//! A private PostgreSQL cluster.
//!
//! Binaries: folder `PGSQLITE_PG_BINDIR` (with its libraries in `PGSQLITE_PG_LIBDIR`), else that of
//! `pg_config`, else the newest below `/usr/lib/postgresql`. Run by root, the server runs as user
//! `postgres`, since it refuses root.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// How a server is stopped.
#[derive(Debug, Clone, Copy)]
pub enum Stop {
    /// Disconnect everybody, write a checkpoint.
    Fast,
    /// As if the power failed: recovery at the next start.
    Immediate,
}

/// A running server with its data folder; both vanish with this value.
pub struct Cluster {
    dir: tempfile::TempDir,
    bindir: PathBuf,
    server: Mutex<Option<Server>>,
}

struct Server {
    pid: Pid,
    waiter: JoinHandle<()>,
}

/// Settings of every cluster. Durability of the server itself is not what most tests are about.
const SETTINGS: &str = "
listen_addresses = ''
port = 5432
wal_level = logical
fsync = off
max_wal_senders = 20
max_replication_slots = 60
max_connections = 60
shared_buffers = 32MB
autovacuum = off
log_line_prefix = '%m [%p] %a '
lc_messages = 'C'
";

impl Cluster {
    /// Makes and starts a cluster with `extra` lines of `postgresql.conf`.
    pub fn start_with(extra: &str) -> Cluster {
        let bindir = bindir();
        let dir = tempfile::Builder::new().prefix("pgsqlite-pg-").tempdir().expect("folder");
        if rustix::process::getuid().is_root() {
            let done = Command::new("chown").arg("postgres").arg(dir.path()).status();
            assert!(done.is_ok_and(|s| s.success()), "cannot give the folder to user postgres");
        }
        let cluster = Cluster { dir, bindir, server: Mutex::new(None) };
        let log = File::create(cluster.dir.path().join("initdb.log")).expect("log");
        let done = as_server_user(&cluster.bindir.join("initdb"))
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(cluster.data())
            .stdout(Stdio::null())
            .stderr(log)
            .status();
        assert!(done.is_ok_and(|s| s.success()), "initdb failed");
        let conf = cluster.data().join("postgresql.conf");
        let mut text = std::fs::read_to_string(&conf).expect("postgresql.conf");
        text.push_str(SETTINGS);
        text.push_str(&format!("unix_socket_directories = '{}'\n", cluster.dir.path().display()));
        text.push_str(extra);
        std::fs::write(&conf, text).expect("postgresql.conf");
        cluster.start();
        cluster
    }

    /// A cluster whose files are a copy of those of `other`, which must be stopped; not started.
    #[allow(dead_code)]
    pub fn copy_of(other: &Cluster) -> Cluster {
        let dir = tempfile::Builder::new().prefix("pgsqlite-pg-").tempdir().expect("folder");
        let owner = format!("--reference={}", other.dir.path().display());
        done(Command::new("chown").arg(owner).arg(dir.path()));
        let cluster = Cluster { dir, bindir: other.bindir.clone(), server: Mutex::new(None) };
        cluster.take_files_of(other);
        cluster
    }

    /// Puts a copy of the files of `other` in the place of this one's; both must be stopped.
    #[allow(dead_code)]
    pub fn take_files_of(&self, other: &Cluster) {
        let _ = std::fs::remove_dir_all(self.data());
        done(Command::new("cp").arg("-a").arg(other.data()).arg(self.dir.path()));
        let conf = self.data().join("postgresql.conf");
        let text = std::fs::read_to_string(&conf).expect("postgresql.conf");
        let (from, to) = (other.dir.path().display(), self.dir.path().display());
        let text = text.replace(&from.to_string(), &to.to_string());
        std::fs::write(&conf, text).expect("postgresql.conf");
    }

    /// A cluster shared by the tests of this binary that run at the same time. Each test makes a
    /// database of its own ([`Cluster::database`]); a test that stops the server starts one of its
    /// own instead.
    pub fn shared() -> Arc<Cluster> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(Cluster::start_with(""));
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The folder of the server's programs.
    pub fn bindir(&self) -> &Path {
        &self.bindir
    }

    /// Connection parameters for a database of this cluster.
    pub fn conninfo(&self, database: &str) -> String {
        format!("host={} port=5432 user=postgres dbname={database}", self.dir.path().display())
    }

    /// Makes an empty database.
    pub fn database(&self, name: &str) -> postgres::Client {
        self.client("postgres").batch_execute(&format!("create database {name}")).expect("create");
        self.client(name)
    }

    /// Connects with the independent client.
    pub fn client(&self, database: &str) -> postgres::Client {
        postgres::Client::connect(&self.conninfo(database), postgres::NoTls).expect("connect")
    }

    /// Starts the server and waits until it takes connections.
    pub fn start(&self) {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(server.is_none(), "the server is running");
        let log = File::options().create(true).append(true).open(self.dir.path().join("log"));
        let mut command = as_server_user(&self.bindir.join("postgres"));
        command.arg("-D").arg(self.data()).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(log.expect("log"));
        let (sender, pids) = mpsc::channel();
        // The thread that starts the server lives as long as it, since the server gets a signal
        // when its parent thread ends: that is how it goes away when the test is killed.
        let waiter = std::thread::spawn(move || {
            let mut child = command.spawn().expect("postgres");
            sender.send(child.id()).expect("starter");
            let _ = child.wait();
        });
        let pid = pids.recv().expect("pid");
        let pid = Pid::from_raw(pid.try_into().expect("pid")).expect("pid");
        *server = Some(Server { pid, waiter });
        let conninfo = self.conninfo("postgres");
        super::wait_for("the server to start", Duration::from_secs(30), || {
            assert!(
                server.as_ref().is_some_and(|s| !s.waiter.is_finished()),
                "the server ended:\n{}",
                self.log()
            );
            postgres::Client::connect(&conninfo, postgres::NoTls).ok()
        });
    }

    /// Stops the server and waits until it is gone.
    pub fn stop(&self, how: Stop) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            let signal = match how {
                Stop::Fast => Signal::INT,
                Stop::Immediate => Signal::QUIT,
            };
            let _ = kill_process(server.pid, signal);
            let _ = server.waiter.join();
        }
    }

    /// One of the server's programs, run as its user.
    pub fn command(&self, program: &str) -> Command {
        as_server_user(&self.bindir.join(program))
    }

    /// What the server wrote into its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop(Stop::Immediate);
    }
}

fn done(command: &mut Command) {
    assert!(command.status().is_ok_and(|status| status.success()), "{command:?}");
}

/// A command that runs as a user whom the server accepts, and that gets a signal when the test
/// dies.
fn as_server_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if rustix::process::getuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    command.arg("--");
    if let Some(libraries) = std::env::var_os("PGSQLITE_PG_LIBDIR") {
        let mut setting = std::ffi::OsString::from("LD_LIBRARY_PATH=");
        setting.push(libraries);
        command.arg("env").arg(setting);
    }
    command.arg(program).env("LC_ALL", "C").current_dir("/");
    command
}

fn bindir() -> PathBuf {
    if let Some(dir) = std::env::var_os("PGSQLITE_PG_BINDIR") {
        return dir.into();
    }
    let asked = Command::new("pg_config").arg("--bindir").output();
    if let Some(dir) = asked.ok().filter(|o| o.status.success()) {
        let dir = PathBuf::from(String::from_utf8_lossy(&dir.stdout).trim());
        if dir.join("postgres").exists() {
            return dir;
        }
    }
    let majors = std::fs::read_dir("/usr/lib/postgresql").expect("no PostgreSQL server found");
    let newest = majors
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|major| Path::new(&format!("/usr/lib/postgresql/{major}/bin/postgres")).exists())
        .max()
        .expect("no PostgreSQL server found");
    format!("/usr/lib/postgresql/{newest}/bin").into()
}

//! A writer and its replicas, with GTID replication between them.

use std::time::Duration;

use tokio::{task::JoinSet, time::timeout};

use super::{Flavor, Installation, Mode, REPLICATION, SandboxError, Server, data::template};

const CATCH_UP_LIMIT: Duration = Duration::from_secs(60);

/// A running replication tree. Dropping it ends every server and removes every folder.
#[derive(Debug)]
pub struct Cluster {
    pub writer: Server,
    pub replicas: Vec<Server>,
}

impl Cluster {
    /// Starts a writer and `replicas` read-only replicas of it, and waits until they follow.
    pub async fn start(flavor: Flavor, replicas: usize) -> Result<Self, SandboxError> {
        let installation = tokio::task::spawn_blocking(move || Installation::find(flavor));
        let installation = installation.await.ok().flatten().ok_or(SandboxError::NotInstalled(flavor))?;
        let (writer, replicas) = start_servers(&installation, replicas).await?;
        let cluster = Self { writer, replicas };
        for replica in &cluster.replicas {
            cluster.follow(replica).await?;
        }
        cluster.wait_caught_up().await?;
        Ok(cluster)
    }

    pub fn flavor(&self) -> Flavor {
        self.writer.flavor()
    }

    /// The writer first.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        std::iter::once(&self.writer).chain(&self.replicas)
    }

    /// Waits until every replica has applied what the writer has committed by now.
    ///
    /// # Errors
    /// A replica does not get there in a minute: its applier is stopped, delayed or failed.
    pub async fn wait_caught_up(&self) -> Result<(), SandboxError> {
        let position = self.position().await?;
        for replica in &self.replicas {
            self.wait_for(replica, &position).await?;
        }
        Ok(())
    }

    /// The writer's GTID position, in the notation of its family.
    pub async fn position(&self) -> Result<String, SandboxError> {
        let sql = match self.flavor() {
            Flavor::MariaDb => "SELECT @@global.gtid_binlog_pos",
            Flavor::MySql9 => "SELECT @@global.gtid_executed",
        };
        let rows = self.writer.rows(sql).await?;
        Ok(rows.first().and_then(|row| row.get(0)).unwrap_or_default())
    }

    /// Stops applying on the replica `index`, while it keeps receiving: its data stands still.
    ///
    /// # Panics
    /// There is no such replica.
    pub async fn stop_sql_thread(&self, index: usize) -> Result<(), SandboxError> {
        self.replica_command(index, "STOP", "SQL_THREAD").await
    }

    /// Applies again. Panics as [`Self::stop_sql_thread`].
    pub async fn start_sql_thread(&self, index: usize) -> Result<(), SandboxError> {
        self.replica_command(index, "START", "SQL_THREAD").await
    }

    /// Keeps the replica `index` this many seconds behind the writer. Panics as [`Self::stop_sql_thread`].
    pub async fn delay(&self, index: usize, seconds: u32) -> Result<(), SandboxError> {
        self.stop_sql_thread(index).await?;
        let change = match self.flavor() {
            Flavor::MariaDb => format!("CHANGE MASTER TO MASTER_DELAY = {seconds}"),
            Flavor::MySql9 => format!("CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {seconds}"),
        };
        // MariaDB changes it only while the receiver stands still, too.
        self.replica_command(index, "STOP", "").await?;
        self.replicas[index].exec(&change).await?;
        self.replica_command(index, "START", "").await
    }

    /// Fails over to the replica `index`: it becomes the writer, the other replicas follow it, and the writer until
    /// now takes its place in `replicas` as it is: dead, or alive and still writable. See [`Self::rejoin`].
    ///
    /// # Panics
    /// There is no such replica.
    pub async fn promote(&mut self, index: usize) -> Result<(), SandboxError> {
        self.replica_command(index, "STOP", "").await?;
        self.replica_command(index, "RESET", "ALL").await?;
        std::mem::swap(&mut self.writer, &mut self.replicas[index]);
        self.writer.set_mode(Mode::ReadWrite).await?;
        for (other, replica) in self.replicas.iter().enumerate() {
            if other != index {
                self.follow(replica).await?;
            }
        }
        Ok(())
    }

    /// Makes a writer of old, at `index` of `replicas` since [`Self::promote`], a replica of the writer of today.
    /// It must be running, and must not have committed what no replica has.
    ///
    /// # Panics
    /// There is no such replica.
    pub async fn rejoin(&self, index: usize) -> Result<(), SandboxError> {
        let replica = &self.replicas[index];
        replica.set_mode(Mode::ReadOnly).await?;
        self.follow(replica).await
    }

    async fn replica_command(&self, index: usize, verb: &str, what: &str) -> Result<(), SandboxError> {
        let replica = &self.replicas[index];
        replica.exec(format!("{verb} {} {what}", replica_noun(self.flavor())).trim_end()).await
    }

    /// Makes `replica` follow the writer from the replica's own position on.
    async fn follow(&self, replica: &Server) -> Result<(), SandboxError> {
        let (port, user, password) = (self.writer.port(), REPLICATION.name, REPLICATION.password);
        let noun = replica_noun(self.flavor());
        replica.exec(&format!("STOP {noun}")).await?;
        match self.flavor() {
            Flavor::MariaDb => {
                // A writer of old has a position in its binary log only.
                replica.exec("SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_binlog_pos").await?;
                let change = format!(
                    "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = '{user}', \
                     MASTER_PASSWORD = '{password}', MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1"
                );
                replica.exec(&change).await?;
            }
            Flavor::MySql9 => {
                let change = format!(
                    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, \
                     SOURCE_USER = '{user}', SOURCE_PASSWORD = '{password}', SOURCE_AUTO_POSITION = 1, \
                     GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1"
                );
                replica.exec(&change).await?;
            }
        }
        replica.exec(&format!("START {noun}")).await
    }

    async fn wait_for(&self, replica: &Server, position: &str) -> Result<(), SandboxError> {
        let seconds = CATCH_UP_LIMIT.as_secs();
        let wait = match self.flavor() {
            Flavor::MariaDb => format!("SELECT MASTER_GTID_WAIT('{position}', {seconds})"),
            Flavor::MySql9 => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', {seconds})"),
        };
        let late = || replica.timed_out("catch up with its writer", CATCH_UP_LIMIT);
        let answer = timeout(CATCH_UP_LIMIT + Duration::from_secs(5), replica.rows(&wait)).await.map_err(|_| late())?;
        let reached = answer?.first().and_then(|row| row.get::<Option<i64>, _>(0)).flatten() == Some(0);
        if reached { Ok(()) } else { Err(late()) }
    }
}

/// What the families call the replica in its commands.
fn replica_noun(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MariaDb => "SLAVE",
        Flavor::MySql9 => "REPLICA",
    }
}

/// All at once: starting waits more than it works. The writer first in the result.
async fn start_servers(installation: &Installation, replicas: usize) -> Result<(Server, Vec<Server>), SandboxError> {
    // Before the servers ask for it, each for itself.
    template(installation).await?;
    let mut starting = JoinSet::new();
    for id in (2..).take(replicas) {
        let installation = installation.clone();
        starting.spawn(async move { Server::create(&installation, id, Mode::ReadOnly).await });
    }
    let writer = Server::create(installation, 1, Mode::ReadWrite).await?;
    let mut servers = starting.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    servers.sort_by_key(Server::id);
    Ok((writer, servers))
}

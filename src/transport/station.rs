//! What the tasks of one shard share, and the jobs that other shards hand to it.

use std::net::TcpStream;
use std::sync::Arc;

use rempart_actors::wire::{Batch, SendToken};
use tokio::sync::mpsc;

use super::Shared;
use super::connections::Seat;
use super::intake::Intake;
use super::{tcp, udp};

/// Jobs that may wait for one shard.
pub(super) const JOBS_MAX: usize = 1024;

/// Something for a shard to do.
pub(super) enum Job {
    /// Serve a connection that was accepted.
    Serve(TcpStream, Seat),
    /// Open a connection and serve it.
    Connect(Seat),
    /// Take datagrams that another shard's socket received.
    Datagrams(Batch),
}

/// The receiving ends of one shard, taken when it opens.
pub(super) struct Ends {
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) reports: mpsc::Receiver<SendToken>,
}

/// What every task of a shard has at hand.
#[derive(Clone)]
pub(super) struct Station<I> {
    pub(super) shard: usize,
    pub(super) intake: I,
    pub(super) shared: Arc<Shared>,
}

impl<I: Intake> Station<I> {
    /// Starts the shard's tasks on the current thread.
    pub(super) fn start(self, ends: Ends) {
        let Ends { jobs, reports } = ends;
        tokio::task::spawn_local(self.clone().work(jobs));
        tokio::task::spawn_local(report(self.intake.clone(), reports));
        for port in &self.shared.udp {
            self.spawn(udp::read(port.clone(), self.clone()));
        }
        for (transport, listener) in self.shared.acceptors_of(self.shard) {
            self.spawn(tcp::accept(transport, listener, self.clone()));
        }
    }

    /// Runs a reader, whose end before its time must not go unnoticed.
    fn spawn(&self, reader: impl Future<Output = std::io::Result<()>> + 'static) {
        tokio::task::spawn_local(async {
            if let Err(error) = reader.await {
                tracing::error!(%error, "a listener stopped");
            }
        });
    }

    /// Does jobs until the transports close; what is sent afterwards needs an open connection.
    async fn work(self, mut jobs: mpsc::Receiver<Job>) {
        let working = async {
            while let Some(job) = jobs.recv().await {
                self.start_on(job);
            }
        };
        tokio::select! {
            () = working => {}
            () = self.closing() => {}
        }
    }

    fn start_on(&self, job: Job) {
        match job {
            Job::Serve(stream, seat) => {
                tokio::task::spawn_local(tcp::serve_accepted(stream, seat, self.clone()));
            }
            Job::Connect(seat) => {
                tokio::task::spawn_local(tcp::connect(seat, self.clone()));
            }
            Job::Datagrams(batch) => self.take(batch),
        }
    }

    fn take(&self, batch: Batch) {
        if let Err(batch) = self.intake.deliver(batch) {
            self.intake.shed(batch.len());
        }
    }

    /// Gives a job to a shard; false when it has too many.
    pub(super) fn hand_over(&self, shard: usize, job: Job) -> bool {
        self.shared.hand_over(shard, job)
    }

    /// Ends when the transports are told to close.
    pub(super) async fn closing(&self) {
        self.shared.closing().await;
    }
}

/// Carries reports of unsent messages to the actors, outside of their sends.
async fn report<I: Intake>(intake: I, mut reports: mpsc::Receiver<SendToken>) {
    while let Some(token) = reports.recv().await {
        intake.send_failed(token);
    }
}

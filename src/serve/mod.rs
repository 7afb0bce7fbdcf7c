//! The scheduler: begins the nights of any number of pipelines at their time, tries again what may
//! pass, tells people, and answers over HTTP how it stands.

mod board;
pub mod http;
mod metrics;
mod night;
mod post;
pub mod timetable;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::notify::Alert;
use crate::pipeline;
use crate::pipeline::schedule::Schedule;
use crate::run::alert::{self, Wanted};
use crate::run::plan::planned;
use night::Ended;
use post::Post;
use timetable::{End, Next, Step, Timetable};

pub use board::{Board, LeftOut, Standings};
pub use metrics::text as metrics;
pub use night::program;
pub use post::Standing;

/// What a scheduler is asked for.
#[derive(Debug, Clone)]
pub struct Orders {
    pub pipelines: Vec<PathBuf>,
    /// Nights that may run at once.
    pub jobs: usize,
    /// Whether it ends when nothing is due any more.
    pub once: bool,
    /// How long running nights may go on after the scheduler was told to stop.
    pub drain: Duration,
    /// Variables that the nights' own processes get: how they log.
    pub night: Vec<(&'static str, &'static str)>,
}

/// How long the scheduler's end may wait for those who are being told of something.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// After how long an alert that was not accepted is sent again.
const SENT_AGAIN: TimeDelta = TimeDelta::minutes(5);

/// Whether those who were to be told are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepted {
    All,
    Not,
}

/// The pipelines of a scheduler, and the timetable of their nights.
pub struct Daemon {
    orders: Orders,
    posts: Vec<Post>,
    timetable: Timetable,
    board: Board,
    left_out: Vec<LeftOut>,
    /// Alerts on their way: a slow receiver must hold up no night.
    alerts: JoinSet<Accepted>,
    /// When alerts that nobody accepted are sent again.
    again: Option<DateTime<Utc>>,
    /// The exit code of the last night that ended badly, for `--once`.
    failed: Option<u8>,
}

/// How a scheduler ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// By itself, after `--once`; with the exit code of a night that ended badly.
    Done { failed: Option<u8> },
    /// It was told to; whether every running night came to its end.
    Told { drained: bool },
}

/// Holds a pipeline against its source, as its night will: who begins the scheduler hears by day what is wrong.
async fn checked(path: PathBuf) {
    match planned(&path).await {
        Ok(plan) => {
            for obstacle in plan.obstacles().await.unwrap_or_default() {
                tracing::error!(pipeline = %path.display(), %obstacle, "the target will not take the star as it is now");
            }
        }
        Err(error) => {
            tracing::error!(pipeline = %path.display(), error = %error.told_whole(), "the pipeline's nights will fail as it is now");
        }
    }
}

impl Daemon {
    /// Reads every pipeline; what is wrong with one is told before any night begins.
    pub fn open(orders: Orders) -> Result<Daemon> {
        let (now, paths) = (clock::now(), orders.pipelines.clone());
        let mut daemon = Daemon {
            timetable: Timetable::new(orders.jobs),
            orders,
            posts: Vec::new(),
            left_out: Vec::new(),
            board: Board::default(),
            alerts: JoinSet::new(),
            again: Some(now),
            failed: None,
        };
        let mut broken = None;
        for path in &paths {
            match Post::open(path) {
                Ok(opened) => daemon.enter(path, opened, now)?,
                // The others' nights are not theirs to suffer from it.
                Err(error) if paths.len() > 1 => {
                    let because = error.told_whole();
                    tracing::error!(pipeline = %path.display(), error = %because, "the pipeline is left out until it is mended and SIGHUP comes");
                    daemon.left_out.push(LeftOut { file: path.clone(), because });
                    broken.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = broken {
            daemon.failed = Some(error.kind().exit_code());
            if daemon.posts.is_empty() {
                return Err(error);
            }
        }
        daemon.post_standings();
        Ok(daemon)
    }

    /// Looks after one more pipeline.
    fn enter(&mut self, path: &Path, (post, schedule): (Post, Schedule), now: DateTime<Utc>) -> Result<()> {
        // Its night would tell the same; who begins the scheduler hears it by day.
        if let Err(error) = pipeline::read(path) {
            tracing::error!(pipeline = post.deployment.name, error = %error.told_whole(), "the pipeline's nights will fail");
        }
        let others = || self.posts.iter().map(|other| &other.deployment);
        if others().any(|other| other.store.place == post.deployment.store.place) {
            let message = format!("two pipelines have the store {}", post.deployment.store.place);
            return Err(Error::new(ErrorKind::Usage, message).hint("name each pipeline once"));
        }
        if others().any(|other| other.name == post.deployment.name) {
            let message = format!("two pipelines are named {}", post.deployment.name);
            return Err(Error::new(ErrorKind::Usage, message)
                .hint("their alerts and metrics could not be told apart: give one another `name`"));
        }
        let entry = self.timetable.add(schedule.clone(), post.had(&schedule, now));
        if post.owes_delivery() {
            self.timetable.owe_delivery(entry, now);
        }
        self.posts.push(post);
        Ok(())
    }

    pub fn board(&self) -> Board {
        Arc::clone(&self.board)
    }

    /// Looks after the pipelines until it is told to stop, or, with `once`, until nothing is due.
    /// `stop` is the first word to end; after `hurry` running nights are given up at once.
    pub async fn serve(
        mut self,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
        mut reload: mpsc::UnboundedReceiver<()>,
    ) -> Stopped {
        let (abandon, abandoned) = watch::channel(false);
        let mut nights: JoinSet<(usize, Ended)> = JoinSet::new();
        tokio::pin!(stop);
        for (entry, post) in self.posts.iter().enumerate() {
            let next = self.timetable.next_night(entry, clock::now()).map(|night| night.to_string());
            tracing::info!(pipeline = post.deployment.name, next, "looking after the pipeline");
        }
        if !self.orders.once {
            self.posts.iter().for_each(|post| drop(tokio::spawn(checked(post.path.clone()))));
        }
        for entry in 0..self.posts.len() {
            // A night may have ended badly after its scheduler was killed.
            let alert = self.posts[entry].untold();
            self.tell(entry, alert);
        }
        loop {
            let now = clock::now();
            for step in self.timetable.due(now) {
                self.take(step, &mut nights, &abandoned);
            }
            if self.again.is_some_and(|at| at <= now) {
                self.again = None;
                self.tell_kept();
            }
            self.post_standings();
            if self.orders.once && self.timetable.is_idle() && nights.is_empty() {
                self.last_alerts().await;
                return Stopped::Done { failed: self.failed };
            }
            let until = self.timetable.next(now).into_iter().chain(self.again).min();
            let until = until.unwrap_or(DateTime::<Utc>::MAX_UTC);
            tokio::select! {
                () = clock::sleep_towards(until) => {}
                Some(ended) = nights.join_next(), if !nights.is_empty() => self.note(ended),
                Some(told) = self.alerts.join_next(), if !self.alerts.is_empty() => {
                    if !matches!(told, Ok(Accepted::All)) {
                        self.again.get_or_insert(clock::now() + SENT_AGAIN);
                    }
                }
                Some(()) = reload.recv() => self.reload(),
                () = &mut stop => break,
            }
        }
        let drained = self.drain(nights, &abandon, hurry).await;
        self.hasty_alerts().await;
        Stopped::Told { drained }
    }

    /// Reads the pipelines again: where they deliver, who is told, when their nights are. A night that
    /// runs is not disturbed; a pipeline that is wrong now goes on as it was.
    fn reload(&mut self) {
        for LeftOut { file: path, .. } in std::mem::take(&mut self.left_out) {
            if let Err(error) = Post::open(&path).and_then(|opened| self.enter(&path, opened, clock::now())) {
                let because = error.told_whole();
                tracing::error!(pipeline = %path.display(), error = %because, "the pipeline is still left out");
                self.left_out.push(LeftOut { file: path, because });
                continue;
            }
            tracing::info!(pipeline = %path.display(), "looking after the pipeline, which was mended");
            tokio::spawn(checked(path));
            let entry = self.posts.len() - 1;
            let alert = self.posts[entry].untold();
            self.tell(entry, alert);
        }
        for (entry, post) in self.posts.iter_mut().enumerate() {
            match Post::open(&post.path) {
                Ok((fresh, schedule)) if fresh.deployment.store.place == post.deployment.store.place => {
                    post.deployment = fresh.deployment;
                    self.timetable.reschedule(entry, schedule);
                    tracing::info!(pipeline = post.deployment.name, "the pipeline was read again");
                }
                Ok(_) => tracing::error!(
                    pipeline = post.deployment.name,
                    "its store has moved: start the scheduler anew for that"
                ),
                Err(error) => tracing::error!(
                    pipeline = post.deployment.name,
                    error = %error.told_whole(),
                    "the pipeline cannot be read again, and goes on as it was"
                ),
            }
        }
    }

    fn take(&mut self, step: Step, nights: &mut JoinSet<(usize, Ended)>, abandoned: &watch::Receiver<bool>) {
        match step {
            Step::Start { entry, attempt } => {
                self.posts[entry].begins(attempt);
                let (path, mut abandoned) = (self.posts[entry].path.clone(), abandoned.clone());
                let variables = self.orders.night.clone();
                nights.spawn(async move {
                    let stop = async {
                        // Without a sender nobody will ever say so.
                        if abandoned.wait_for(|abandoned| *abandoned).await.is_err() {
                            std::future::pending::<()>().await;
                        }
                    };
                    (entry, night::attempt(&path, attempt, &variables, stop).await)
                });
            }
            Step::GiveUp { entry, night } => {
                let alert = self.posts[entry].gives_up(night);
                self.tell(entry, alert);
            }
            Step::Late { entry, night, by } => {
                let alert = self.posts[entry].is_late(night, by);
                self.tell(entry, alert);
            }
        }
    }

    fn tell(&mut self, entry: usize, alert: Option<Alert>) {
        let Some(alert) = alert else { return };
        let deployment = &self.posts[entry].deployment;
        if alert::remember(deployment, &alert) == Wanted::Yes {
            let (outbox, settings) = (alert::outbox(deployment), deployment.notify.clone());
            self.alerts.spawn(async move {
                let sent = outbox.tell(&settings, alert).await;
                if sent.iter().all(|sent| sent.result.is_ok()) { Accepted::All } else { Accepted::Not }
            });
        }
    }

    /// Sends what could not be sent before.
    fn tell_kept(&mut self) {
        for post in &self.posts {
            let (outbox, settings) = (alert::outbox(&post.deployment), post.deployment.notify.clone());
            self.alerts.spawn(async move {
                if outbox.tell_kept(&settings).await { Accepted::All } else { Accepted::Not }
            });
        }
    }

    /// Says that a night went well, to whoever would miss it.
    fn say_alive(&mut self, entry: usize) {
        let deployment = self.posts[entry].deployment.clone();
        self.alerts.spawn(async move {
            alert::alive(&deployment).await;
            Accepted::All
        });
    }

    /// Whoever is still being told is told. Every channel has its own patience, so this ends.
    async fn last_alerts(&mut self) {
        while self.alerts.join_next().await.is_some() {}
    }

    /// Whoever is still being told is told, if it doesn't take long: the scheduler was asked to end.
    async fn hasty_alerts(&mut self) {
        if tokio::time::timeout(LAST_WORDS, self.last_alerts()).await.is_err() {
            tracing::error!(alerts = self.alerts.len(), "people were not told: their channels took too long");
        }
    }

    fn note(&mut self, ended: std::result::Result<(usize, Ended), tokio::task::JoinError>) {
        let Ok((entry, ended)) = ended else {
            tracing::error!("a night's task ended by itself");
            return;
        };
        let next = self.timetable.ended(entry, ended.end, clock::now());
        if next == Next::Over && ended.end != End::Well {
            self.failed = Some(ended.code);
        }
        let well = next == Next::Over && ended.end == End::Well;
        let published = well && self.posts[entry].is_ours(&ended);
        let alert = self.posts[entry].ended(ended, next);
        self.tell(entry, alert);
        if published {
            self.say_alive(entry);
        }
    }

    /// Lets running nights come to their end for a while, then ends them cleanly.
    async fn drain(
        &mut self,
        mut nights: JoinSet<(usize, Ended)>,
        abandon: &watch::Sender<bool>,
        hurry: impl Future<Output = ()>,
    ) -> bool {
        if nights.is_empty() {
            return true;
        }
        let patience = self.orders.drain;
        tracing::info!(
            running = nights.len(),
            seconds = patience.as_secs(),
            "stopping; running nights may come to their end"
        );
        let finish = async {
            while let Some(ended) = nights.join_next().await {
                self.note(ended);
            }
        };
        tokio::select! {
            () = finish => return true,
            () = tokio::time::sleep(patience) => {}
            () = hurry => {}
        }
        tracing::warn!(running = nights.len(), "running nights are ended; what they did is not published");
        let _ = abandon.send(true);
        while let Some(ended) = nights.join_next().await {
            // One that came to its end all the same may have something to tell.
            let was_ended = |ended: &Ended| ended.end == End::Passing;
            if !ended.as_ref().is_ok_and(|(_, ended)| was_ended(ended)) {
                self.note(ended);
            }
        }
        false
    }

    fn post_standings(&self) {
        let now = clock::now();
        let pipelines = self.posts.iter().enumerate().map(|(entry, post)| {
            let mut standing = post.standing();
            standing.doing = self.timetable.doing(entry).into();
            standing.next_night = self.timetable.next_night(entry, now);
            standing
        });
        let standings = Standings { pipelines: pipelines.collect(), left_out: self.left_out.clone() };
        *self.board.write().unwrap_or_else(PoisonError::into_inner) = standings;
    }
}

/// The next nights of a pipeline.
#[derive(Debug, Serialize)]
pub struct Upcoming {
    pub pipeline: String,
    pub path: String,
    pub cron: String,
    pub timezone: String,
    /// As instants, with the offset of the schedule's zone.
    pub nights: Vec<String>,
}

/// The next nights of every pipeline.
pub fn upcoming(pipelines: &[PathBuf], count: usize) -> (Vec<Upcoming>, Vec<Error>) {
    let (mut found, mut broken) = (Vec::new(), Vec::new());
    for path in pipelines {
        // One that cannot be read hides none of the others.
        let (post, schedule) = match Post::open(path) {
            Ok(opened) => opened,
            Err(error) => {
                broken.push(error);
                continue;
            }
        };
        let mut nights = Vec::new();
        let mut at = clock::now();
        while let Some(night) = schedule.next_after(at).filter(|_| nights.len() < count) {
            nights.push(night.with_timezone(&schedule.timezone).to_rfc3339());
            at = night;
        }
        found.push(Upcoming {
            pipeline: post.deployment.name.clone(),
            path: path.display().to_string(),
            cron: schedule.line.as_str().to_owned(),
            timezone: schedule.timezone.name().to_owned(),
            nights,
        });
    }
    (found, broken)
}

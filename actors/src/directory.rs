//! Finds the actor for a key, within a fixed number of actors, and replaces the dead.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use actix::prelude::*;
use foldhash::quality::RandomState;

/// Tells an actor that its place was given away: it ends after what it was sent before.
///
/// Dropping the last address is not enough: an actor with an armed timer lives on without one.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Retire;

/// Key to actor. The actor longest in the house goes first when it is full.
#[derive(Debug)]
pub struct Directory<K, A: Actor> {
    actors_max: usize,
    actors: HashMap<K, Addr<A>, RandomState>,
    oldest: VecDeque<K>,
}

impl<K, A> Directory<K, A>
where
    K: Clone + Eq + Hash,
    A: Actor<Context = Context<A>> + Handler<Retire>,
{
    /// Room for `actors_max` actors.
    pub fn new(actors_max: usize) -> Self {
        Self { actors_max, actors: HashMap::default(), oldest: VecDeque::new() }
    }

    /// The living actor of `key`.
    ///
    /// The address is lent, not cloned: in actix every clone may send one message past a full
    /// mailbox.
    pub fn get<Q>(&self, key: &Q) -> Option<&Addr<A>>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.actors.get(key).filter(|actor| actor.connected())
    }

    /// Starts the actor if there is none, or if the last one stopped or panicked.
    pub fn get_or_start(&mut self, key: &K, create: impl FnOnce() -> A) -> &Addr<A> {
        let alive = self.actors.get(key).is_some_and(Addr::connected);
        if !alive {
            if !self.actors.contains_key(key) {
                self.make_room();
                self.oldest.push_back(key.clone());
            }
            self.actors.insert(key.clone(), create().start());
        }
        &self.actors[key]
    }

    /// Ends one actor; says whether there was one.
    pub fn remove(&mut self, key: &K) -> bool {
        let actor = self.actors.remove(key);
        // Past the mailbox's bound, but once in an actor's life.
        actor.inspect(|actor| actor.do_send(Retire)).is_some()
    }

    /// Forgets the keys whose actor has stopped; returns how many live.
    pub fn sweep(&mut self) -> usize {
        self.actors.retain(|_, actor| actor.connected());
        let actors = &self.actors;
        self.oldest.retain(|key| actors.contains_key(key));
        self.actors.len()
    }

    /// The living actors with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Addr<A>)> {
        self.actors.iter()
    }

    fn make_room(&mut self) {
        while self.actors.len() >= self.actors_max {
            let Some(oldest) = self.oldest.pop_front() else { break };
            self.remove(&oldest);
        }
        // Keys of actors removed by hand still stand in the queue.
        if self.oldest.len() > 2 * self.actors_max + 16 {
            let actors = &self.actors;
            self.oldest.retain(|key| actors.contains_key(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::rc::Rc;
    use std::time::Duration;

    #[derive(Default)]
    struct Echo {
        _alive: Rc<()>,
    }

    impl Actor for Echo {
        type Context = Context<Self>;

        fn started(&mut self, ctx: &mut Self::Context) {
            ctx.run_later(Duration::from_secs(900), |_, ctx| ctx.stop());
        }
    }

    impl Handler<Retire> for Echo {
        type Result = ();

        fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
            ctx.stop();
        }
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Panic;

    impl Handler<Panic> for Echo {
        type Result = ();

        fn handle(&mut self, _: Panic, _: &mut Self::Context) {
            panic!("asked to");
        }
    }

    #[actix::test]
    async fn the_table_stays_at_its_maximum() {
        let mut directory = Directory::new(3);
        for key in 0..100 {
            directory.get_or_start(&key, Echo::default);
        }
        assert_eq!(directory.sweep(), 3);
        assert!(directory.get(&99).is_some() && directory.get(&0).is_none());
    }

    #[actix::test]
    async fn an_evicted_actor_ends_before_its_timer_and_so_does_a_removed_one() {
        let (mut directory, alive) = (Directory::new(3), Rc::new(()));
        for key in 0..100 {
            directory.get_or_start(&key, || Echo { _alive: alive.clone() });
        }
        assert!(directory.remove(&99) && !directory.remove(&99));
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(Rc::strong_count(&alive), 1 + 2);
    }

    #[actix::test]
    async fn a_panicked_actor_is_replaced() {
        let mut directory = Directory::new(3);
        let first = directory.get_or_start(&1, Echo::default).clone();
        assert!(first.send(Panic).await.is_err());
        assert!(directory.get(&1).is_none());
        assert!(directory.get_or_start(&1, Echo::default).connected());
    }
}

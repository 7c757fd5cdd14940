//! Finds the actor for a key, within a fixed number of actors, and replaces the dead.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use actix::prelude::*;
use foldhash::quality::RandomState;

/// Key to actor. The actor longest in the house goes first when it is full.
#[derive(Debug)]
pub struct Directory<K, A: Actor> {
    actors_max: usize,
    actors: HashMap<K, Addr<A>, RandomState>,
    oldest: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, A: Actor<Context = Context<A>>> Directory<K, A> {
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

    /// Lets one actor go.
    pub fn remove(&mut self, key: &K) -> Option<Addr<A>> {
        self.actors.remove(key)
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
            self.actors.remove(&oldest);
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

    struct Echo;

    impl Actor for Echo {
        type Context = Context<Self>;
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
            directory.get_or_start(&key, || Echo);
        }
        assert_eq!(directory.sweep(), 3);
        assert!(directory.get(&99).is_some() && directory.get(&0).is_none());
    }

    #[actix::test]
    async fn a_panicked_actor_is_replaced() {
        let mut directory = Directory::new(3);
        let first = directory.get_or_start(&1, || Echo).clone();
        assert!(first.send(Panic).await.is_err());
        assert!(directory.get(&1).is_none());
        assert!(directory.get_or_start(&1, || Echo).connected());
    }
}

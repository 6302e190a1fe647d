//! Join is a semilattice, equal vectors mean equal states, and nothing visible gets lost.

use proptest::prelude::*;
use proptest::sample::Index;

use super::replica::*;
use crate::base::NodeId;
use crate::causal::{Dot, Field, NodeKind, State, Value, View};

#[derive(Debug, Clone)]
pub enum Op {
    Mkdir(Index, u8),
    File(Index, u8, u8),
    Rename(Index, Index, u8),
    Write(Index, u8),
    Remove(Index),
    RemoveTree(Index),
    Restore(Index, Index),
    Purge(Index),
    Link(Index, Index, u8),
    Unlink(Index),
    Chmod(Index, u16),
    Xattr(Index, u8, Option<u8>),
    Resolve(Index),
    Save(Index, u8),
    Receive(Index),
    Skew(i64),
}

fn op() -> impl Strategy<Value = Op> {
    let i = any::<Index>;
    let n = || 0u8..4;
    prop_oneof![
        8 => (i(), n()).prop_map(|(a, b)| Op::Mkdir(a, b)),
        8 => (i(), n(), n()).prop_map(|(a, b, c)| Op::File(a, b, c)),
        12 => (i(), i(), n()).prop_map(|(a, b, c)| Op::Rename(a, b, c)),
        6 => (i(), n()).prop_map(|(a, b)| Op::Write(a, b)),
        4 => i().prop_map(Op::Remove),
        3 => i().prop_map(Op::RemoveTree),
        2 => (i(), i()).prop_map(|(a, b)| Op::Restore(a, b)),
        3 => i().prop_map(Op::Purge),
        3 => (i(), i(), n()).prop_map(|(a, b, c)| Op::Link(a, b, c)),
        2 => i().prop_map(Op::Unlink),
        3 => (i(), any::<u16>()).prop_map(|(a, b)| Op::Chmod(a, b)),
        2 => (i(), n(), proptest::option::of(n())).prop_map(|(a, b, c)| Op::Xattr(a, b, c)),
        2 => i().prop_map(Op::Resolve),
        2 => (i(), n()).prop_map(|(a, b)| Op::Save(a, b)),
        12 => i().prop_map(Op::Receive),
        1 => (-1_000i64..1_000).prop_map(Op::Skew),
    ]
}

fn pick<T: Copy>(from: &[T], index: &Index) -> Option<T> {
    (!from.is_empty()).then(|| *index.get(from))
}

/// What is visible outside the trash, in order of ids: directories and the rest.
fn visible(r: &Replica) -> (Vec<NodeId>, Vec<NodeId>) {
    let view = r.view();
    let in_trash = |mut at: NodeId| {
        while !at.is_reserved() {
            at = view.spots.range((at, 0)..).next().unwrap().1.parent;
        }
        at == TRASH
    };
    let mut ids: Vec<_> = view.spots.keys().map(|(id, _)| *id).filter(|id| !in_trash(*id)).collect();
    ids.dedup();
    ids.into_iter().partition(|id| r.state.nodes[id].kind == NodeKind::Directory)
}

fn children(r: &Replica, id: NodeId) -> Vec<NodeId> {
    let view = r.view();
    let own = view.spots.iter().filter(|(_, s)| s.parent == id).map(|((n, _), _)| *n).collect::<Vec<_>>();
    own.into_iter().flat_map(|c| children(r, c).into_iter().chain([c])).collect()
}

pub fn step(all: &mut [Replica], at: usize, op: &Op) {
    if let Op::Receive(from) = op {
        let other = all[from.index(all.len())].clone();
        return all[at].receive(&other);
    }
    let r = &mut all[at];
    let (directories, files) = visible(r);
    let parents: Vec<_> = [ROOT].into_iter().chain(directories.iter().copied()).collect();
    let any: Vec<_> = directories.iter().chain(&files).copied().collect();
    let trashed: Vec<_> = r.view().spots.iter().filter(|(_, s)| s.parent == TRASH).map(|((n, _), _)| *n).collect();
    let named = |n: &u8| format!("n{n}");
    match op {
        Op::Mkdir(p, n) => drop(r.mkdir(*p.get(&parents), &named(n))),
        Op::File(p, n, d) => drop(r.file(*p.get(&parents), &named(n), &named(d))),
        Op::Rename(i, p, n) => drop(pick(&any, i).map(|id| r.rename(id, *p.get(&parents), &named(n)))),
        Op::Restore(i, p) => drop(pick(&trashed, i).map(|id| r.rename(id, *p.get(&parents), "restored"))),
        Op::Write(i, d) => drop(pick(&files, i).map(|id| r.write(id, &named(d)))),
        Op::Save(i, d) => drop(pick(&files, i).map(|id| r.atomic_save(id, &named(d)))),
        Op::Remove(i) => drop(pick(&any, i).filter(|id| children(r, *id).is_empty()).map(|id| r.remove(id))),
        Op::RemoveTree(i) => {
            if let Some(id) = pick(&directories, i) {
                let mut gone = children(r, id);
                gone.dedup();
                gone.push(id);
                for id in gone {
                    if r.view().spots.range((id, 0)..).next().unwrap().1.parent != TRASH {
                        r.remove(id);
                    }
                }
            }
        }
        Op::Purge(i) => drop(pick(&trashed, i).map(|id| r.purge(id))),
        Op::Link(i, p, n) => drop(pick(&files, i).map(|id| r.link(id, *p.get(&parents), &named(n)))),
        Op::Unlink(i) => {
            if let Some(id) = pick(&files, i).filter(|id| r.state.nodes[id].links.len() > 1) {
                let link = r.state.nodes[&id].links[0].0;
                r.unlink(id, link);
            }
        }
        Op::Chmod(i, mode) => drop(pick(&any, i).map(|id| r.chmod(id, *mode))),
        Op::Xattr(i, n, v) => {
            let value = Value::Bytes(v.map(|v| vec![v]));
            drop(pick(&any, i).map(|id| r.set(id, Field::Xattr(vec![*n]), value)));
        }
        Op::Resolve(i) => {
            if let Some(id) = pick(&files, i)
                && let Some(keep) = r.state.nodes[&id].shown().map(|(dot, _)| *dot)
            {
                r.resolve(id, keep);
            }
        }
        Op::Skew(by) => r.now = (r.now + by).max(0),
        Op::Receive(_) => {}
    }
}

/// Run on `n` devices; all states on the way.
fn run(n: usize, ops: &[(Index, Op)]) -> (Vec<Replica>, Vec<State>) {
    let mut all: Vec<_> = (0..n).map(|w| Replica::new(u32::try_from(w).unwrap() + 1)).collect();
    let mut states = Vec::new();
    for (who, op) in ops {
        let at = who.index(n);
        step(&mut all, at, op);
        states.push(all[at].state.clone());
        for a in &all {
            for b in &all {
                assert!(a.state.context != b.state.context || a.state == b.state, "equal vectors, equal states");
            }
        }
    }
    (all, states)
}

pub fn runs(len: usize) -> impl Strategy<Value = (usize, Vec<(Index, Op)>)> {
    (2usize..5, proptest::collection::vec((any::<Index>(), op()), 1..len))
}

proptest! {
    #[test]
    fn join_is_commutative_associative_and_idempotent((n, ops) in runs(70), picks: [Index; 3]) {
        let (_, states) = run(n, &ops);
        let [a, b, c] = picks.each_ref().map(|i| i.get(&states));
        prop_assert_eq!(a.join(b), b.join(a));
        prop_assert_eq!(a.join(b).join(c), a.join(&b.join(c)));
        prop_assert_eq!(&a.join(a), a);
        prop_assert_eq!(&a.join(b).join(b), &a.join(b));
        prop_assert_eq!(joined_by_nodes(a, b), a.join(b));
    }

    #[test]
    fn devices_that_all_met_agree_and_show_everything((n, ops) in runs(90)) {
        let (mut all, _) = run(n, &ops);
        let mut all: Vec<_> = all.iter_mut().collect();
        meet(&mut all);
    }

    #[test]
    fn an_order_of_meeting_does_not_matter((n, ops) in runs(60), order in proptest::collection::vec(any::<Index>(), 1..12)) {
        let (all, _) = run(n, &ops);
        let forward = all.iter().fold(State::default(), |sum, r| sum.join(&r.state));
        let mut other = order.iter().fold(State::default(), |sum, i| sum.join(&i.get(&all).state));
        other = all.iter().rev().fold(other, |sum, r| sum.join(&r.state));
        prop_assert_eq!(&forward, &other);
        prop_assert_eq!(view(&forward), view(&other));
    }

    /// Liars included: any states at all, also those no honest device can be in.
    #[test]
    fn join_commutes_for_states_that_lie((n, ops) in runs(40), picks: [Index; 2], dots in proptest::collection::vec((1u32..4, 1u64..6), 2)) {
        let (_, states) = run(n, &ops);
        let [mut a, mut b] = picks.each_ref().map(|i| i.get(&states).clone());
        for (state, (writer, seq)) in [&mut a, &mut b].into_iter().zip(dots) {
            let dot = Dot { writer, seq };
            for node in state.nodes.values_mut() {
                node.content.0.iter_mut().take(1).for_each(|(d, _)| *d = dot);
                node.attributes.iter_mut().take(1).for_each(|x| x.dot = dot);
            }
        }
        prop_assert_eq!(a.join(&b), b.join(&a));
        let ab = a.join(&b);
        prop_assert_eq!(View::of(&ab, &label), View::of(&b.join(&a), &label));
    }
}

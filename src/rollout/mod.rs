//! What a rollout is going to do: the moves of the controllers and of the kubelet, as a
//! simulation.
//!
//! [`foretell`] reads from top to bottom: what the pods do ([`kubelet`]), what moves them
//! (a controller: [`deployment`], …), some runs of both at the paces that they may have
//! ([`course`]), and what comes of it ([`Forecast`]).
//!
//! [`Driven`] is a rollout whose pods do what somebody else says: so the tests hold the
//! controllers here against the real ones.
//!
//! Time is a number, and nothing happens by chance.

mod argo;
mod blue_green;
mod canary;
mod course;
mod daemon_set;
mod deployment;
mod driven;
mod forecast;
mod grounds;
mod kubelet;
mod replica_set;
mod stall;
mod stateful_set;
mod world;

pub use course::Step;
pub use driven::{Driven, Event, Seen};
pub use forecast::{Forecast, Plan, Quota, Unforeseeable, foretell};
pub use grounds::Grounds;
pub use kubelet::Assumed;
pub use world::{Millis, PodId, millis};

use world::World;

/// What a rollout waits for whose pods nobody replaces.
const ON_DELETE: &str = "updateStrategy OnDelete: each old pod stays until somebody deletes it";

/// Who moves the pods of a workload.
trait Controller {
    /// Looks at the pods once, and does what there is to do. Whether that was anything.
    fn sync(&mut self, world: &mut World) -> bool;

    /// When it acts again though nothing happens to a pod.
    fn wakes(&self, _: &World) -> Option<Millis> {
        None
    }

    /// Whether the rollout is over.
    fn is_complete(&self, world: &World) -> bool;

    /// What somebody has to do for it to go on.
    fn waits_for(&self, world: &World) -> Option<String>;
}

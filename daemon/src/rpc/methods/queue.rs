//! `queue.summary`.

use frankd_proto::methods::Empty;
use frankd_proto::methods::queue::Summary;

use super::{Owners, Registrar};

pub(super) fn register(registrar: &mut Registrar, owners: &Owners) {
    registrar.method::<Summary, _, _>(owners, |owners, _, Empty {}| async move { Ok(owners.queue.summary().await?) });
}

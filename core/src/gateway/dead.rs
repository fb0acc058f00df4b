//! Lists dead addresses, and restores those that were pruned by mistake.

use super::Gateway;
use crate::dead::{DeadAddress, DeadId, DeadQuery, Restoration};
use crate::ids::AppId;
use crate::store::StorageError;

/// Result of restoring one page of dead addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredPage {
    /// Each address of the page with the result of restoring it.
    pub results: Vec<(DeadAddress, Restoration)>,
    /// Id of the last address of the page, at which the next page starts. `None` means that this is the last page.
    pub next: Option<DeadId>,
}

impl Gateway {
    /// Returns a page of the app's dead addresses, pruned or held back.
    ///
    /// # Errors
    /// [`StorageError`] if storage cannot be read.
    pub async fn dead_addresses(
        &self,
        app: &AppId,
        query: &DeadQuery,
    ) -> Result<Vec<DeadAddress>, StorageError> {
        self.inner.context.store.dead(app, query).await
    }

    /// Restores a page of the app's dead addresses. An address that was registered again meanwhile stays as it is.
    ///
    /// # Errors
    /// [`StorageError`] if storage fails. Then nothing is changed.
    pub async fn restore_addresses(
        &self,
        app: &AppId,
        query: &DeadQuery,
    ) -> Result<RestoredPage, StorageError> {
        let page = self.dead_addresses(app, query).await?;
        let next = page.last().map(|dead| dead.id).filter(|_| page.len() >= query.limit);
        let ids: Vec<_> = page.iter().map(|dead| dead.id).collect();
        if ids.is_empty() {
            return Ok(RestoredPage { results: Vec::new(), next });
        }
        let restored = self.inner.context.store.restore(app, &ids, self.now()).await?;
        Ok(RestoredPage { results: page.into_iter().zip(restored).collect(), next })
    }
}

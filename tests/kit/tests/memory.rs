//! Runs the suites against the in-memory store and queue.

#[tokio::test]
async fn the_memory_store_keeps_its_promises() {
    pushgate_kit::keeping::store(&pushgate::memory::MemoryStore::default()).await;
}

#[tokio::test]
async fn the_memory_queue_keeps_its_promises() {
    pushgate_kit::keeping::queue(&pushgate::memory::MemoryQueue::default()).await;
}

#[tokio::test]
async fn no_sequence_of_register_bind_logout_and_rotate_leaves_an_address_with_two_users() {
    let store = pushgate::memory::MemoryStore::default();
    pushgate_kit::keeping::no_sequence_leaves_an_address_with_two_users(&store, 2000).await;
}

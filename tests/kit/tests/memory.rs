//! The memory store and queue are held to what they promise.

#[tokio::test]
async fn the_memory_store_keeps_its_promises() {
    pushgate_kit::keeping::store(&pushgate::memory::MemoryStore::default()).await;
}

#[tokio::test]
async fn the_memory_queue_keeps_its_promises() {
    pushgate_kit::keeping::queue(&pushgate::memory::MemoryQueue::default()).await;
}

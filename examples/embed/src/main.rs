//! An IM server with pushgate inside. Say `register bob TOKEN`, `open bob`, `close bob`, or `ann bob hello` on stdin:
//! a message goes to whoever has his page open, and by push to whoever has not.

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    pushgate_embed::serve(std::io::stdin().lines()).await
}

//! IM server that embeds pushgate. Reads commands from stdin: `register bob TOKEN`, `open bob`, `close bob`, `ann bob
//! hello`. A message goes to the connection of a user whose page is open, and by push to any other user.

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    pushgate_embed::serve(std::io::stdin().lines()).await
}

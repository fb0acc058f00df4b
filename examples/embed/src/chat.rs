//! Loop of the IM server: delivers each message to open connections and hands it to the gateway, which pushes to
//! absent users.
#![expect(clippy::print_stdout, reason = "it talks to whoever runs it")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use pushgate::observe::Event;
use pushgate::{
    Address, AppId, ChannelName, Device, DeviceId, Gateway, Notification, Platform, TokenKind, Traits, UserId,
};
use pushgate_dummy::{Dummy, Script};

use crate::{Connections, Tables};

/// Executes commands line by line until the input ends.
///
/// # Errors
/// Returns an error if a name is invalid, or the gateway refuses a call.
pub async fn serve(lines: impl Iterator<Item = std::io::Result<String>>) -> Result<(), Box<dyn Error>> {
    let connections = Connections::default();
    let gateway = Gateway::builder()
        .devices(Arc::new(Tables::default()))
        .presence(connections.clone())
        // Yours is a real one: web push, FCM, APNs …
        .channel(Dummy::scripted(ChannelName::new("push")?, Script::default()))
        .observer(|event: &Event| {
            if let Event::Receipt { receipt, .. } = event {
                println!(
                    "push to {}: {}",
                    receipt.user.as_ref().map_or("?", UserId::as_str),
                    receipt.state.as_str()
                );
            }
        })
        .start()
        .await?;
    for line in lines {
        let line = line?;
        match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["register", user, token] => drop(gateway.register(page(user, token, &gateway)?).await?),
            ["open", user] => connections.open(user),
            ["close", user] => connections.close(user),
            [from, to, text] => {
                if connections.deliver(to, text) {
                    println!("{to} reads: {text}");
                }
                let push = Notification::to_user("chat", to)?.sender(UserId::new(from)?);
                gateway.submit(push.title(from).content(text)).await?;
            }
            _ => println!("register USER TOKEN, open USER, close USER, or FROM TO TEXT"),
        }
    }
    gateway.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

fn page(user: &str, token: &str, gateway: &Gateway) -> Result<Device, Box<dyn Error>> {
    let (channel, kind) = (ChannelName::new("push")?, TokenKind::Token);
    let addresses = vec![Address { channel, kind, token: token.into() }];
    let (app, id, user) = (AppId::new("chat")?, DeviceId::new(token)?, Some(UserId::new(user)?));
    Ok(Device { app, id, user, traits: Traits::of(Platform::Web), addresses, registered_at: gateway.now() })
}

//! What administration leaves in the event log: who, which object, which fields, and never a value.

use frankd_proto::methods::client::{DeleteParams, UpdateParams};
use frankd_proto::methods::{client, profile};
use frankd_proto::{EventType, Patch, Secret, SecretInput};
use serde_json::json;

use super::harness::*;

#[tokio::test(start_paused = true)]
async fn changes_of_clients_and_profiles_tell_who_made_them_and_which_fields_they_touched() {
    let world = World::with(service("alerts")).await;
    let made = world.told(EventType::ProfileCreated).await;
    assert_eq!(made.len(), 1);
    assert_eq!((made[0].profile.clone(), made[0].data["uid"].clone()), (Some(named("alerts")), json!(ROOT)));
    assert_eq!((made[0].data["user"].clone(), made[0].data["pid"].clone()), (json!("root"), json!(4711)));
    let clients = world.told(EventType::ClientCreated).await;
    let name = clients[0].client.clone().unwrap();

    let change = UpdateParams {
        client_secret: Patch::Set(SecretInput::value(Secret::new("hunter2"))),
        token_endpoint: Some("https://login.sandbox.test/other?hunter3".to_owned()),
        confirm: true,
        ..serde_json::from_value(json!({"name": name})).unwrap()
    };
    world.call::<client::Update>(change).await.unwrap();
    let events = world.told(EventType::ClientUpdated).await;
    assert_eq!(events[0].client, Some(name));
    assert_eq!(events[0].data["changed"], json!(["client_secret", "token_endpoint"]));

    let change = json!({"name": "alerts", "new_name": "alarms", "smtp": {"port": 465, "tls": "implicit"}});
    world.call::<profile::Update>(serde_json::from_value(change).unwrap()).await.unwrap();
    let events = world.told(EventType::ProfileUpdated).await;
    assert_eq!(events[0].profile, Some(named("alarms")));
    assert_eq!(events[0].data["name_before"], json!("alerts"));
    let changed = events[0].data["changed"].as_array().unwrap();
    assert!(changed.contains(&json!("name")) && changed.contains(&json!("smtp.port")), "{changed:?}");

    let delete = DeleteParams { name: named("alarms"), if_revision: None };
    world.call::<profile::Delete>(delete).await.unwrap();
    let gone = world.told(EventType::ProfileDeleted).await;
    assert_eq!((gone[0].profile.clone(), gone[0].data["uid"].clone()), (Some(named("alarms")), json!(ROOT)));
    let all = serde_json::to_string(&world.events().await).unwrap();
    assert!(!all.contains("hunter"), "{all}");
}

//! `--dry-run`: a call as it would be made, for people and programs to look at.
//!
//! No secret is shown: whatever the contract has secrets in becomes `«set»`.

use serde_json::value::RawValue;
use serde_json::{Value, json};

/// What stands in place of a secret.
const SET: &str = "«set»";

/// The method and its parameters as one JSON object.
pub(crate) fn call(method: &str, params: &RawValue) -> Result<String, serde_json::Error> {
    let mut params: Value = serde_json::from_str(params.get())?;
    mask(&mut params);
    Ok(json!({"method": method, "params": params}).to_string())
}

/// Secrets are the values of clients' secrets and of passwords, and the address that completes a grant.
fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("client_secret" | "password", Value::Object(secret)) => {
                        if let Some(value) = secret.get_mut("value") {
                            *value = SET.into();
                        }
                    }
                    ("client_secret" | "password" | "redirect_url", value @ Value::String(_)) => *value = SET.into(),
                    (_, value) => mask(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

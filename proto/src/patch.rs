//! A change to one field of an object: leave it, clear it, or set it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What an update says of a field: absent leaves it, `null` clears it, a value sets it.
///
/// A field of this type carries `#[serde(default, skip_serializing_if = "Patch::is_keep")]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// Absent: the field stays as it is.
    #[default]
    Keep,
    /// `null`: the field goes back to being unset.
    Clear,
    /// The new value.
    Set(T),
}

impl<T> Patch<T> {
    /// Whether the field stays as it is.
    pub const fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The value that the field has after the change.
    pub fn apply(self, current: Option<T>) -> Option<T> {
        match self {
            Self::Keep => current,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T> From<Option<T>> for Patch<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Keep, Self::Set)
    }
}

impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Set(value) => serializer.serialize_some(value),
            Self::Keep | Self::Clear => serializer.serialize_none(),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

/// Reads a value that can be left out and not taken away: `null` is refused.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Update {
        #[serde(default, skip_serializing_if = "Patch::is_keep")]
        text: Patch<String>,
    }

    #[test]
    fn absent_null_and_value_are_three_things() -> Result<(), serde_json::Error> {
        for (json, patch) in
            [("{}", Patch::Keep), (r#"{"text":null}"#, Patch::Clear), (r#"{"text":"a"}"#, Patch::Set("a".to_owned()))]
        {
            let update: Update = serde_json::from_str(json)?;
            assert_eq!(update.text, patch);
            assert_eq!(serde_json::to_string(&update)?, json);
        }
        Ok(())
    }
}

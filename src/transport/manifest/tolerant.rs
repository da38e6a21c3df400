//! Documents of images as real tools write them, read leniently and in bounded memory, and turned into the types of the
//! specification.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use oci_spec::image::{
    Config as Execution, Descriptor as ImageDescriptor, History, ImageConfiguration, ImageIndex,
    ImageManifest, MediaType, Platform as ImagePlatform, RootFs,
};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{MOST_LAYERS, TransportError, invalid, is_image_config, shown};

/// The most images of one index. Real ones have some dozens.
const MOST_ENTRIES: usize = 1000;
/// The most entries of a list or map in a configuration: environment variables, labels, steps of the history.
const MOST_ITEMS: usize = 10_000;

/// A manifest or an index; which of them is found out afterwards.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    pub(super) schema_version: Option<i64>,
    pub(super) media_type: Option<String>,
    artifact_type: Option<String>,
    pub(super) config: Option<Descriptor>,
    #[serde(default, deserialize_with = "layers")]
    pub(super) layers: Option<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "entries")]
    pub(super) manifests: Option<Vec<Descriptor>>,
    /// Docker's schema 1 has this one.
    pub(super) fs_layers: Option<IgnoredAny>,
    annotations: Option<Map<Option<String>>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    media_type: Option<String>,
    artifact_type: Option<String>,
    digest: String,
    size: i64,
    #[serde(default, deserialize_with = "items")]
    urls: Option<Vec<String>>,
    annotations: Option<Map<Option<String>>>,
    platform: Option<Platform>,
}

#[derive(serde::Deserialize)]
struct Platform {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

/// An image configuration.
#[derive(serde::Deserialize)]
pub(super) struct Config {
    created: Option<String>,
    author: Option<String>,
    architecture: Option<String>,
    os: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    #[serde(rename = "os.features", default, deserialize_with = "items")]
    os_features: Option<Vec<String>>,
    variant: Option<String>,
    #[serde(rename = "config")]
    run: Option<RunSettings>,
    rootfs: Option<DiffIds>,
    #[serde(default, deserialize_with = "items")]
    history: Option<Vec<Step>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RunSettings {
    user: Option<String>,
    exposed_ports: Option<Keys>,
    #[serde(default, deserialize_with = "items")]
    env: Option<Vec<String>>,
    entrypoint: Option<Words>,
    cmd: Option<Words>,
    volumes: Option<Keys>,
    working_dir: Option<String>,
    labels: Option<Map<Option<String>>>,
    stop_signal: Option<String>,
}

#[derive(serde::Deserialize)]
struct DiffIds {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "layers")]
    diff_ids: Option<Vec<String>>,
}

#[derive(serde::Deserialize)]
struct Step {
    created: Option<String>,
    author: Option<String>,
    created_by: Option<String>,
    comment: Option<String>,
    empty_layer: Option<bool>,
}

impl Document {
    pub(super) fn into_manifest(self, what: &str) -> Result<ImageManifest, TransportError> {
        let Some(config) = self.config else {
            return Err(invalid(what, "it names no configuration"));
        };
        let config = config.into_descriptor(what, "its configuration")?;
        if !is_image_config(config.media_type()) {
            let kind = self
                .artifact_type
                .unwrap_or_else(|| config.media_type().to_string());
            return Err(invalid(
                what,
                format!("it is an artifact of type `{}`, not an image", shown(&kind)),
            ));
        }
        let mut layers = Vec::new();
        for (index, layer) in self.layers.unwrap_or_default().into_iter().enumerate() {
            layers.push(layer.into_descriptor(what, &format!("layer {index}"))?);
        }
        let mut manifest = oci_spec::image::ImageManifestBuilder::default()
            .schema_version(2_u32)
            .config(config)
            .layers(layers)
            .build()
            .map_err(|error| invalid(what, error.to_string()))?;
        manifest.set_media_type(self.media_type.as_deref().map(MediaType::from));
        manifest.set_artifact_type(self.artifact_type.as_deref().map(MediaType::from));
        manifest.set_annotations(self.annotations.map(Map::without_nulls));
        Ok(manifest)
    }

    pub(super) fn into_index(self, what: &str) -> Result<ImageIndex, TransportError> {
        let mut manifests = Vec::new();
        for (index, entry) in self.manifests.unwrap_or_default().into_iter().enumerate() {
            manifests.push(entry.into_descriptor(what, &format!("entry {index}"))?);
        }
        let mut index = oci_spec::image::ImageIndexBuilder::default()
            .schema_version(2_u32)
            .manifests(manifests)
            .build()
            .map_err(|error| invalid(what, error.to_string()))?;
        index.set_media_type(self.media_type.as_deref().map(MediaType::from));
        index.set_artifact_type(self.artifact_type.as_deref().map(MediaType::from));
        index.set_annotations(self.annotations.map(Map::without_nulls));
        Ok(index)
    }
}

impl Descriptor {
    fn into_descriptor(self, what: &str, which: &str) -> Result<ImageDescriptor, TransportError> {
        let digest: crate::digest::Digest = self.digest.parse().map_err(|_| {
            invalid(
                what,
                format!("{which} has no digest: `{}`", shown(&self.digest)),
            )
        })?;
        let size = u64::try_from(self.size)
            .map_err(|_| invalid(what, format!("{which} has a size of {} bytes", self.size)))?;
        let media_type = MediaType::from(self.media_type.unwrap_or_default().as_str());
        let mut descriptor = ImageDescriptor::new(media_type, size, digest);
        descriptor.set_urls(self.urls.filter(|urls| !urls.is_empty()));
        let artifact_type = self.artifact_type.filter(|text| !text.is_empty());
        descriptor.set_artifact_type(artifact_type.as_deref().map(MediaType::from));
        descriptor.set_annotations(self.annotations.map(Map::without_nulls));
        descriptor.set_platform(self.platform.map(Platform::into_platform));
        Ok(descriptor)
    }
}

impl Platform {
    fn into_platform(self) -> ImagePlatform {
        let mut platform = ImagePlatform::default();
        platform.set_os(self.os.unwrap_or_default().as_str().into());
        platform.set_architecture(self.architecture.unwrap_or_default().as_str().into());
        platform.set_variant(self.variant.filter(|variant| !variant.is_empty()));
        platform
    }
}

impl Config {
    pub(super) fn into_configuration(
        self,
        what: &str,
    ) -> Result<ImageConfiguration, TransportError> {
        let Some(rootfs) = self.rootfs else {
            return Err(invalid(
                what,
                "it has no `rootfs`, so it is not the configuration of an image",
            ));
        };
        let kind = rootfs.kind.unwrap_or_default();
        if !matches!(kind.as_str(), "" | "layers") {
            return Err(invalid(
                what,
                format!("its `rootfs` is of type `{}`, not of layers", shown(&kind)),
            ));
        }
        let mut root = RootFs::default();
        root.set_diff_ids(rootfs.diff_ids.unwrap_or_default());
        let mut config = ImageConfiguration::default();
        config.set_created(self.created);
        config.set_author(self.author);
        config.set_architecture(self.architecture.unwrap_or_default().as_str().into());
        config.set_os(self.os.unwrap_or_default().as_str().into());
        config.set_os_version(self.os_version);
        config.set_os_features(self.os_features);
        config.set_variant(self.variant.filter(|variant| !variant.is_empty()));
        config.set_config(self.run.map(RunSettings::into_execution));
        config.set_rootfs(root);
        config.set_history(
            self.history
                .map(|steps| steps.into_iter().map(Step::into_history).collect()),
        );
        Ok(config)
    }
}

impl RunSettings {
    fn into_execution(self) -> Execution {
        let mut execution = Execution::default();
        execution.set_user(self.user);
        execution.set_exposed_ports(self.exposed_ports.map(|keys| keys.0));
        execution.set_env(self.env);
        execution.set_entrypoint(self.entrypoint.map(|words| words.0));
        execution.set_cmd(self.cmd.map(|words| words.0));
        execution.set_volumes(self.volumes.map(|keys| keys.0));
        execution.set_working_dir(self.working_dir);
        execution.set_labels(self.labels.map(Map::without_nulls));
        execution.set_stop_signal(self.stop_signal);
        execution
    }
}

impl Step {
    fn into_history(self) -> History {
        let mut history = History::default();
        history.set_created(self.created);
        history.set_author(self.author);
        history.set_created_by(self.created_by);
        history.set_comment(self.comment);
        history.set_empty_layer(self.empty_layer);
        history
    }
}

fn layers<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    bounded(deserializer, MOST_LAYERS, "layers")
}

fn entries<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    bounded(deserializer, MOST_ENTRIES, "images in one index")
}

fn items<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    bounded(deserializer, MOST_ITEMS, "items in one list")
}

/// A list of at most `most` items, or `null`. The limit holds while it is read: 100,000 layers are never in memory.
fn bounded<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    most: usize,
    of: &'static str,
) -> Result<Option<Vec<T>>, D::Error> {
    struct List<T> {
        most: usize,
        of: &'static str,
        item: PhantomData<T>,
    }
    impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Option<Vec<T>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of {}", self.of)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = list.next_element()? {
                if items.len() == self.most {
                    return Err(A::Error::custom(format_args!(
                        "it has more than {} {}",
                        self.most, self.of
                    )));
                }
                items.push(item);
            }
            Ok(Some(items))
        }
    }
    deserializer.deserialize_any(List {
        most,
        of,
        item: PhantomData,
    })
}

/// A map of bounded size. Of equal keys the last one counts, as in Go, whose tools write these documents.
struct Map<V>(HashMap<String, V>);

impl Map<Option<String>> {
    fn without_nulls(self) -> HashMap<String, String> {
        self.0
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Map<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Pairs<V> {
            type Value = Map<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = HashMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    pairs.insert(key, value);
                    if pairs.len() > MOST_ITEMS {
                        return Err(A::Error::custom(format_args!(
                            "it has more than {MOST_ITEMS} items in one map"
                        )));
                    }
                }
                Ok(Map(pairs))
            }
        }
        deserializer.deserialize_map(Pairs(PhantomData))
    }
}

/// The keys of a map whose values mean nothing (a set in Go), sorted. Some tools write a list.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut words = deserializer.deserialize_any(Texts)?;
        words.sort();
        Ok(Self(words))
    }
}

/// A command: a list of words, or in old images one text.
struct Words(Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Texts).map(Self)
    }
}

/// Texts, as a list, as the keys of a map, or one alone.
struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a list of texts or a set of them")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        let deserializer = serde::de::value::SeqAccessDeserializer::new(list);
        Ok(items(deserializer)?.unwrap_or_default())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let deserializer = serde::de::value::MapAccessDeserializer::new(map);
        let map: Map<IgnoredAny> = Map::deserialize(deserializer)?;
        Ok(map.0.into_keys().collect())
    }
}

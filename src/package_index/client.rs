//! The index client: answers from the cache on the caller's thread, and from the network on a background thread that
//! runs ahead of the solver.
//!
//! A solver asks one question at a time, and each answer brings up the next question. Waiting for every one of them
//! would cost one round trip each. So the client is told what may be asked next ([`PackageIndex::prefetch`]) and goes
//! on from there by itself: page, likely wheel, its metadata, the projects in it ([`Foresight`]). A cold run then
//! takes as long as the longest chain of requirements, not as long as all of them. A run that the cache can answer
//! starts no thread, loads no certificate and opens no socket. (Reading the cache ahead on a second thread was tried: what
//! the two cost each other at the allocator and at the locks was more than what they shared.)

use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::OnceCell;
use url::Url;

use super::archive::WheelContents;
use super::cache::{Cache, CacheKey, PageEntry};
use super::error::IndexError;
use super::find_links::FindLinks;
use super::local;
use super::metadata::{WheelSource, parse_metadata, promised_header};
use super::packs::Packs;
use super::priority::{self, Answer};
use super::project::{Project, is_local};
use super::settings::{Clock, IndexAddress, IndexSettings, default_index_url};
use super::wheel_store::WheelStore;
use super::{Foresight, PackageIndex};
use crate::http::{HttpClient, Runtime, redacted};
use crate::packaging::metadata::{CoreMetadata, RawMetadata};
use crate::packaging::simple::IndexFile;
use crate::packaging::wheel_name::WheelName;
use crate::packaging::{PackageName, VersionSet};

/// The most that a source distribution may have to be fetched for an explanation, in bytes.
const MOST_SOURCE: u64 = 16 << 20;

/// The metadata of a wheel; the inner error is the wheel's own fault.
type MetadataAnswer = Result<Result<Arc<CoreMetadata>, String>, IndexError>;
/// Answers by key, each worked out once however many ask for it.
type Answers<K, T> = Mutex<FxHashMap<K, Arc<OnceCell<T>>>>;

/// What the caller's thread and the background thread share.
pub(super) struct Shared {
    pub(super) settings: IndexSettings,
    pub(super) indexes: Vec<IndexAddress>,
    pub(super) links: FindLinks,
    pub(super) http: HttpClient,
    pub(super) cache: Cache,
    packs: Packs,
    pub(super) clock: Clock,
    foresight: OnceLock<Arc<dyn Foresight>>,
    projects: Answers<PackageName, Answer>,
    metadata: Answers<String, MetadataAnswer>,
    /// What source distributions promise, as far as it was asked for, by [`metadata_key`].
    promises: Mutex<FxHashMap<String, Option<Arc<CoreMetadata>>>>,
    hinted: Mutex<FxHashSet<PackageName>>,
    warnings: Mutex<BTreeSet<String>>,
    /// Which of `indexes` answered for a project.
    sources: Mutex<FxHashMap<PackageName, usize>>,
}

/// The background thread, or what it will be told when it starts.
#[derive(Default)]
struct Background {
    runtime: Option<Arc<Runtime>>,
    hints: Vec<(PackageName, VersionSet)>,
}

/// One or several indexes, over the network and a cache.
pub struct IndexClient {
    pub(super) shared: Arc<Shared>,
    background: Mutex<Background>,
    pub(super) wheels: WheelStore,
}

impl std::fmt::Debug for IndexClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexClient")
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}

impl IndexClient {
    /// A client that has done nothing yet. `clock` decides which cached pages are current.
    ///
    /// # Errors
    /// When the address of an index is none.
    pub fn new(settings: IndexSettings, clock: Clock) -> Result<Self, IndexError> {
        let indexes = settings.addresses()?;
        let links = FindLinks::new(&settings.find_links)?;
        let http = HttpClient::new(settings.http(Clock::clone(&clock)));
        for (page, (user, password)) in links.credentials() {
            http.add_credentials(page, user.clone(), password.clone());
        }
        for index in &indexes {
            if let Some((user, password)) = &index.credentials {
                http.add_credentials(&index.url, user.clone(), password.clone());
            }
        }
        Ok(Self {
            shared: Arc::new(Shared {
                indexes,
                links,
                http,
                cache: Cache::new(settings.cache_dir.as_deref()),
                packs: Packs::default(),
                clock,
                settings,
                foresight: OnceLock::new(),
                projects: Mutex::default(),
                metadata: Mutex::default(),
                promises: Mutex::default(),
                hinted: Mutex::default(),
                warnings: Mutex::default(),
                sources: Mutex::default(),
            }),
            background: Mutex::default(),
            wheels: WheelStore::default(),
        })
    }

    /// Lets the client run ahead by itself. The first foresight that is given counts.
    #[must_use]
    pub fn with_foresight(self, foresight: Arc<dyn Foresight>) -> Self {
        self.set_foresight(foresight);
        self
    }

    /// As [`IndexClient::with_foresight`], for a client that is already in use.
    pub fn set_foresight(&self, foresight: Arc<dyn Foresight>) {
        // The first one stays: prefetching has begun with it.
        let _ = self.shared.foresight.set(foresight);
    }

    /// How many requests went out so far, retries and redirects among them.
    #[must_use]
    pub fn requests_made(&self) -> u64 {
        self.shared.http.requests_made()
    }

    /// What went wrong without keeping the client from answering, for people.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.shared.cache.warnings();
        warnings.extend(lock(&self.shared.warnings).iter().cloned());
        warnings.extend(self.shared.nothing_found());
        warnings
    }

    /// The address of the index that answered for `name`, without credentials; `None` where none has, or where the address
    /// has a part that may be a secret.
    #[must_use]
    pub fn index_of(&self, name: &PackageName) -> Option<String> {
        let position = *lock(&self.shared.sources).get(name)?;
        let url = &self.shared.indexes.get(position)?.url;
        url.query().is_none().then(|| redacted(url))
    }

    /// A whole file, verified against the SHA-256 that the index announced.
    ///
    /// # Errors
    /// When the file cannot be fetched or is another than announced.
    pub fn download(&self, file: &IndexFile) -> Result<Vec<u8>, IndexError> {
        if is_local(&file.url) {
            return local::bytes(file);
        }
        let shared = Arc::clone(&self.shared);
        let wheel = file.clone();
        self.wait(&file.filename, async move {
            WheelSource {
                http: &shared.http,
                wheel: &wheel,
            }
            .download()
            .await
        })?
    }

    /// Makes sure that a file on this machine that is pinned has a SHA-256: folders announce none. Of other files
    /// nothing is asked.
    ///
    /// # Errors
    /// When the file has vanished, cannot be read, or is another than announced.
    pub fn hash_local(&self, file: &mut IndexFile) -> Result<(), IndexError> {
        if is_local(&file.url) {
            file.sha256 = Some(local::sha256(file)?);
        }
        Ok(())
    }

    /// The paths in a wheel and its `METADATA`, read from the central directory. The inner error is the wheel's own
    /// fault.
    ///
    /// # Errors
    /// When the index cannot be asked.
    pub fn wheel_contents(
        &self,
        wheel: &IndexFile,
    ) -> Result<Result<WheelContents, String>, IndexError> {
        if is_local(&wheel.url) {
            return local::contents(wheel);
        }
        let shared = Arc::clone(&self.shared);
        if let Some(contents) = shared.contents_from_cache(wheel) {
            return Ok(Ok(contents));
        }
        let file = wheel.clone();
        self.wait(&wheel.filename, async move { shared.contents(&file).await })?
    }

    /// What a source distribution promises, from the cache or from the archive, which is fetched whole: an error is as good
    /// as no promise.
    fn promise_of(&self, source: &IndexFile) -> Option<Arc<CoreMetadata>> {
        let shared = &self.shared;
        if source.size.is_some_and(|size| size > MOST_SOURCE) {
            return None;
        }
        if is_local(&source.url) {
            let header = promised_header(source, &local::bytes(source).ok()?)?;
            return parse_metadata(source, &header).ok().map(Arc::new);
        }
        let key = CacheKey::wheel("metadata", source);
        let known = shared.cache.read_bytes(&key, shared.freshness());
        let header = if let Some(header) = known {
            header
        } else if shared.settings.offline {
            return None;
        } else {
            let archive = self.download(source).ok()?;
            // That there is no promise is remembered as one of nothing.
            let header = promised_header(source, &archive).unwrap_or_default();
            shared.cache.write_bytes(&key, (shared.clock)(), &header);
            header
        };
        parse_metadata(source, &header).ok().map(Arc::new)
    }

    /// Runs `task` in the background and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        item: &str,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, IndexError> {
        let receiver = self.runtime(item)?.submit(task);
        receiver.recv().map_err(|_| IndexError::Interrupted {
            item: item.to_owned(),
            reason: "the thread that fetches has ended".to_owned(),
        })
    }

    /// The thread that fetches, started where there is none yet: `item` is what it is needed for.
    pub(super) fn runtime(&self, item: &str) -> Result<Arc<Runtime>, IndexError> {
        let mut background = lock(&self.background);
        if let Some(runtime) = &background.runtime {
            return Ok(Arc::clone(runtime));
        }
        let started = Runtime::start("package-index").map_err(|error| IndexError::Interrupted {
            item: item.to_owned(),
            reason: error.to_string(),
        })?;
        let runtime = Arc::new(started);
        // Now that there is a reason to travel, what was only probable until now is fetched on the same trip.
        for (name, versions) in background.hints.drain(..) {
            runtime.spawn(follow(Arc::clone(&self.shared), name, versions));
        }
        background.runtime = Some(Arc::clone(&runtime));
        Ok(runtime)
    }
}

impl Drop for IndexClient {
    fn drop(&mut self) {
        // First the thread that fetches comes to its end, then what it has fetched is written down.
        drop(lock(&self.background).runtime.take());
        self.shared.packs.write(&self.shared.cache);
    }
}

impl PackageIndex for IndexClient {
    fn project(&self, name: &PackageName) -> Result<Option<Arc<Project>>, IndexError> {
        if let Some(answer) = self.shared.remembered_project(name) {
            return answer;
        }
        let (shared, wanted) = (Arc::clone(&self.shared), name.clone());
        self.wait(name.as_ref(), async move { shared.project(&wanted).await })?
    }

    fn metadata(&self, wheel: &IndexFile) -> Result<Result<Arc<CoreMetadata>, String>, IndexError> {
        if let Some(answer) = self.shared.remembered_metadata(wheel) {
            return answer;
        }
        let (shared, file) = (Arc::clone(&self.shared), wheel.clone());
        self.wait(&wheel.filename, async move { shared.metadata(&file).await })?
    }

    fn promised_metadata(&self, source: &IndexFile) -> Option<Arc<CoreMetadata>> {
        let key = metadata_key(source);
        if let Some(known) = lock(&self.shared.promises).get(key) {
            return known.clone();
        }
        let promised = self.promise_of(source);
        lock(&self.shared.promises).insert(key.clone(), promised.clone());
        promised
    }

    fn prefetch(&self, name: &PackageName, versions: &VersionSet) {
        if !self.shared.is_first_hint(name) {
            return;
        }
        let mut background = lock(&self.background);
        match &background.runtime {
            Some(runtime) => runtime.spawn(follow(
                Arc::clone(&self.shared),
                name.clone(),
                versions.clone(),
            )),
            // As long as the cache answers everything there is nothing to run ahead of.
            None => background.hints.push((name.clone(), versions.clone())),
        }
    }

    fn prefetch_metadata(&self, wheels: &mut dyn Iterator<Item = IndexFile>) {
        // Likewise: whoever has not had to travel so far has the metadata of these wheels, too.
        if let Some(runtime) = &lock(&self.background).runtime {
            for wheel in wheels {
                let shared = Arc::clone(&self.shared);
                runtime.spawn(async move {
                    // Whoever asks for it gets the error, and the one who does not need it is spared it.
                    let _ = shared.metadata(&wheel).await;
                });
            }
        }
    }
}

impl Shared {
    /// Keeps in mind which of the indexes, by its position, answered for a project.
    pub(super) fn remember_source(&self, name: &PackageName, position: usize) {
        lock(&self.sources).insert(name.clone(), position);
    }

    /// Whether a cached page can be used without asking.
    pub(super) fn is_fresh(&self, entry: &PageEntry) -> bool {
        !self.settings.refresh && entry.is_fresh((self.clock)(), self.settings.freshness)
    }

    /// A project that has been asked for before, in this run or, as the cache knows, in an earlier one; `None` when an
    /// index must be asked.
    fn remembered_project(&self, name: &PackageName) -> Option<Answer> {
        let cell = cell(&self.projects, name);
        if let Some(answer) = cell.get() {
            return Some(answer.clone());
        }
        let answer = priority::answer_from_cache(self, name)?;
        // If somebody else was faster, their answer is the one that everybody gets.
        let _ = cell.set(answer.clone());
        Some(cell.get().cloned().unwrap_or(answer))
    }

    /// Likewise the metadata of a wheel.
    fn remembered_metadata(&self, wheel: &IndexFile) -> Option<MetadataAnswer> {
        let cell = cell(&self.metadata, metadata_key(wheel));
        if let Some(answer) = cell.get() {
            return Some(answer.clone());
        }
        let answer = self.metadata_from_cache(wheel)?;
        let _ = cell.set(answer.clone());
        Some(cell.get().cloned().unwrap_or(answer))
    }

    /// Remembers something that a person should know.
    pub(super) fn warn(&self, text: String) {
        lock(&self.warnings).insert(text);
    }

    /// Warns where the request ends at a time and `index` does not say of files of `project` when they were uploaded.
    pub(super) fn note_upload_times(&self, index: &Url, project: &Project) {
        if self.settings.exclude_newer.is_some() && project.lacks_upload_times() {
            self.warn(format!(
                "{} does not say when its files were uploaded: with `--exclude-newer` those are left out",
                redacted(index)
            ));
        }
    }

    /// What a wrong address looks like from here: whatever was asked for, no index has a file of it. With the address
    /// that everybody uses it is rather the name of the project that is wrong.
    fn nothing_found(&self) -> Option<String> {
        let answers: Vec<(String, bool)> = lock(&self.projects)
            .iter()
            .filter_map(|(name, answer)| {
                let answer = answer.get()?.as_ref().ok()?.as_ref();
                let found = answer.is_some_and(|project| !project.versions().is_empty());
                Some((name.to_string(), found))
            })
            .collect();
        if answers.iter().any(|(_, found)| *found) {
            return None;
        }
        let mut asked: Vec<String> = answers.into_iter().map(|(name, _)| name).collect();
        if asked.is_empty() {
            return None;
        }
        let mut places: Vec<String> = self
            .indexes
            .iter()
            .map(|index| redacted(&index.url))
            .collect();
        let odd = places.iter().any(|index| !index.ends_with("/simple/"));
        let default = default_index_url();
        if !places.is_empty()
            && self
                .indexes
                .iter()
                .all(|index| index.url.as_str() == default)
        {
            return None;
        }
        places.extend(self.links.names());
        if places.is_empty() {
            return Some("no package index is asked, as the setting `no-index` says".to_owned());
        }
        asked.sort();
        Some(format!(
            "no file of {} is offered by {}{}",
            asked.join(", "),
            places.join(" or "),
            if odd {
                ": is that the address of a package index? It usually ends in `/simple`"
            } else {
                ""
            }
        ))
    }

    fn is_first_hint(&self, name: &PackageName) -> bool {
        let mut hinted = lock(&self.hinted);
        !hinted.contains(name) && hinted.insert(name.clone())
    }

    async fn project(&self, name: &PackageName) -> Answer {
        cell(&self.projects, name)
            .get_or_init(|| priority::answer(self, name))
            .await
            .clone()
    }

    async fn metadata(&self, wheel: &IndexFile) -> MetadataAnswer {
        cell(&self.metadata, metadata_key(wheel))
            .get_or_init(|| async {
                if let Some(answer) = self.metadata_from_cache(wheel) {
                    return answer;
                }
                let source = WheelSource {
                    http: &self.http,
                    wheel,
                };
                Ok(source.metadata().await?.and_then(|bytes| {
                    // Only what decides about installation is kept: a tenth of what there often is.
                    let header = RawMetadata::parse(&bytes).to_header();
                    let metadata = parse_metadata(wheel, &header)?;
                    if !self
                        .packs
                        .insert(&self.cache, &metadata.name, wheel, &header)
                    {
                        let key = CacheKey::wheel("metadata", wheel);
                        self.cache.write_bytes(&key, (self.clock)(), &header);
                    }
                    Ok(Arc::new(metadata))
                }))
            })
            .await
            .clone()
    }

    /// The metadata of a wheel on this machine. That one is no wheel is worth a warning: whoever put it there can mend it.
    fn local_metadata(&self, wheel: &IndexFile) -> MetadataAnswer {
        let metadata = local::contents(wheel)?
            .and_then(|contents| parse_metadata(wheel, &contents.metadata).map(Arc::new));
        if let Err(reason) = &metadata {
            self.warn(format!("{} is passed over: {reason}", wheel.url));
        }
        Ok(metadata)
    }

    /// Metadata that the cache has, or a file on this machine; `None` when it must be fetched.
    fn metadata_from_cache(&self, wheel: &IndexFile) -> Option<MetadataAnswer> {
        if is_local(&wheel.url) {
            return Some(self.local_metadata(wheel));
        }
        let name = WheelName::from_str(&wheel.filename).ok()?;
        let remembered = self.packs.get(&self.cache, &name.name, wheel).or_else(|| {
            // Only a wheel without a hash has a file of its own.
            let key = CacheKey::wheel("metadata", wheel);
            wheel
                .sha256
                .is_none()
                .then(|| self.cache.read_bytes(&key, self.freshness()))?
        });
        match remembered {
            // What does not parse was not written by us: as good as nothing.
            Some(bytes) => Some(Ok(Ok(Arc::new(parse_metadata(wheel, &bytes).ok()?)))),
            None if self.settings.offline => Some(Err(IndexError::FileNotCached {
                file: wheel.filename.clone(),
            })),
            None => None,
        }
    }

    async fn contents(
        &self,
        wheel: &IndexFile,
    ) -> Result<Result<WheelContents, String>, IndexError> {
        let source = WheelSource {
            http: &self.http,
            wheel,
        };
        let contents = source.contents().await?;
        if let Ok(contents) = &contents {
            self.cache.write_bytes(
                &CacheKey::wheel("contents", wheel),
                (self.clock)(),
                &contents.to_bytes(),
            );
        }
        Ok(contents)
    }

    fn contents_from_cache(&self, wheel: &IndexFile) -> Option<WheelContents> {
        let key = CacheKey::wheel("contents", wheel);
        WheelContents::from_bytes(&self.cache.read_bytes(&key, self.freshness())?)
    }

    /// By what the age of an entry that can change is judged; `None` while offline, when anything is better than nothing.
    pub(super) fn freshness(&self) -> Option<(u64, std::time::Duration)> {
        let freshness = if self.settings.refresh {
            std::time::Duration::ZERO
        } else {
            self.settings.freshness
        };
        (!self.settings.offline).then(|| ((self.clock)(), freshness))
    }
}

/// Fetches what a solver will ask for if it needs one of `versions` of `name`, and what that brings up in turn.
fn follow(
    shared: Arc<Shared>,
    name: PackageName,
    versions: VersionSet,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    // Boxed, as it spawns itself. Errors are not lost: the solver gets them when it asks.
    Box::pin(async move {
        let Ok(Some(project)) = shared.project(&name).await else {
            return;
        };
        let Some(foresight) = shared.foresight.get() else {
            return;
        };
        let Some(wheel) = foresight.likely_wheel(&project, &versions) else {
            return;
        };
        let Ok(Ok(metadata)) = shared.metadata(&wheel).await else {
            return;
        };
        for (name, versions) in foresight.likely_projects(&metadata) {
            if shared.is_first_hint(&name) {
                tokio::spawn(follow(Arc::clone(&shared), name, versions));
            }
        }
    })
}

/// Under what the metadata of a wheel is remembered in this run.
fn metadata_key(wheel: &IndexFile) -> &String {
    wheel.sha256.as_ref().unwrap_or(&wheel.url)
}

/// The place of the answer to `key`.
fn cell<K: Clone + Eq + Hash, T>(answers: &Answers<K, T>, key: &K) -> Arc<OnceCell<T>> {
    let mut answers = lock(answers);
    match answers.entry(key.clone()) {
        Entry::Occupied(entry) => Arc::clone(entry.get()),
        Entry::Vacant(entry) => Arc::clone(entry.insert(Arc::default())),
    }
}

/// Locks; a panic elsewhere while the lock was held leaves nothing half done, as every change is one insertion.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

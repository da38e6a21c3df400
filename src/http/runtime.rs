//! The one thread on which everything asynchronous of a client runs, started when it is first needed.

use std::future::Future;
use std::sync::mpsc;
use std::thread::JoinHandle;

/// A background thread with a runtime. It must not be dropped by one of its own tasks, as it waits for them.
#[derive(Debug)]
pub struct Runtime {
    handle: tokio::runtime::Handle,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    /// Starts the thread under `name`.
    ///
    /// # Errors
    /// When the machine has no thread or no event queue to give.
    pub fn start(name: &str) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Either way of ending means the same: nobody wants anything any more.
                let _ = runtime.block_on(stopped);
                // Name resolution cannot be cancelled, and nobody waits for it any more.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Runs `task` in the background.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }

    /// Runs `task` in the background and hands over where its result will arrive.
    pub fn submit<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> mpsc::Receiver<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.spawn(async move {
            // Nobody waiting any more is no error.
            let _ = sender.send(task.await);
        });
        receiver
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Waiting lets a write to the cache come to its end. A panic over there was reported when it happened.
            let _ = thread.join();
        }
    }
}

//! A request whose clients are to work with an MLflow server.

use crate::catalog::mlflow_server::{CLIENTS, ServerVersion};
use crate::environment::Environment;
use crate::packaging::{MarkerTree, PackageName, Requirement};
use crate::resolution::request::{Request, Requested};

use super::Talk;

/// Bounds every client of MLflow that may come in to what works with `server`, and says so; of a client that the base
/// has, it is told where it does not.
pub(super) fn bind_clients(
    server: &ServerVersion,
    request: &mut Request,
    environment: &Environment,
) -> Vec<Talk> {
    let clients = server.clients();
    let mut talk = vec![Talk::Note(format!(
        "clients of MLflow are bound to {clients}: MLflow's servers work with clients that are not newer, up to one \
         major version older, and this one is a server of {server}"
    ))];
    for client in CLIENTS {
        let Ok(name) = client.parse::<PackageName>() else {
            continue;
        };
        if let Some(installed) = environment.distributions.get(&name)
            && !clients.contains(&installed.version)
        {
            talk.push(Talk::Warning(format!(
                "the base has {name} {}, which MLflow does not promise to work with a server of {server}",
                installed.version
            )));
        }
        request.constraints.push(Requested {
            requirement: Requirement {
                name,
                extras: Vec::new(),
                specifiers: clients.clone(),
                url: None,
                marker: MarkerTree::default(),
            },
            origin: Some(format!("a server of {server}")),
        });
    }
    talk
}

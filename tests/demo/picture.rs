//! The namespaces and their addresses, drawn.

use std::io::Result;

use testbed::address::{client, gateway, node, pod};

use crate::screen::Screen;
use crate::stage::PODS;

/// Who is where.
pub(crate) fn draw(screen: &Screen) -> Result<()> {
    let row = |cells: Vec<String>| {
        cells.iter().map(|cell| format!("{cell:<22}")).collect::<String>().trim_end().to_owned()
    };
    let pods = || (1..=PODS as u8).map(|p| pod(1, p));
    let (client, node, gateway) = (client(), node(1), gateway(1));
    let names = (0..PODS).map(|i| screen.pod(i, &format!("{:<22}", format!("pod{}", i + 1))));
    screen.line(&format!("client  {}  {}", client.v4, client.v6))?;
    screen.line("   |")?;
    screen.line(&format!("   |  the network outside{:>52}", "namespace `client`, `switch`"))?;
    screen.line("   |")?;
    screen.line(&format!("node1   {}  {}    sluice runs here", node.v4, node.v6))?;
    screen.line("   |")?;
    screen.line(&format!("   +-- bridge {}  {}", gateway.v4, gateway.v6))?;
    screen.line(&format!("   {}", row(vec!["|".into(); PODS])))?;
    screen.line(&names.collect::<String>())?;
    screen.line(&row(pods().map(|pair| pair.v4.to_string()).collect()))?;
    screen.line(&row(pods().map(|pair| pair.v6.to_string()).collect()))
}

//! `send`: makes the parameters of `message.send` from files and addresses, and waits if asked to.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use frankd_proto::methods::message as rpc;
use frankd_proto::{MessageId, MessageState};

use super::{list, map, message};
use crate::app::App;
use crate::args::Format;
use crate::args::send::Send;
use crate::args::values::{Moment, seconds};
use crate::clock;
use crate::failure::{Doing, Failure, exit};
use crate::output::WARNING;
use crate::session::{Answer, Session};

/// Longest single `message.wait`.
const LONG_POLL: Duration = Duration::from_secs(60);

/// Does it.
pub(crate) async fn run(app: &mut App, args: Send) -> Result<u8, Failure> {
    let wait = args.wait;
    let doing = match &args.profile {
        Some(profile) => Doing::new("queue the mail").with_profile(profile),
        None => Doing::new("queue the mail"),
    };
    let now = app.io.clock.now();
    let past = args.at.filter(|at| matches!(at, Moment::At(moment) if *moment <= now));
    let params = params(app, args)?;
    if app.rehearse::<rpc::Send>(&params)? {
        return Ok(exit::OK);
    }
    if past.is_some() {
        app.note(format!("{WARNING} The time of --at is past: the mail goes out at once."))?;
    }
    let session = app.connect().await?;
    let receipt = session.call::<rpc::Send>(params, doing).await?;
    let Some(wait) = wait else {
        return app.print(&receipt);
    };
    app.note(format!("queued as {}", receipt.value.id))?;
    let answer = settle(&session, receipt.value.id, wait).await?;
    if app.format() == Format::Table {
        let page = app.page();
        let lines = message::outcome(&answer.value, &page);
        app.data_page(&format!("{}\n", lines.join("\n")))?;
    } else {
        app.print(&answer)?;
    }
    Ok(message::wait_status(&answer.value))
}

/// Waits until a message is final, held or in doubt, at most this long.
async fn settle(session: &Session, id: MessageId, limit: Duration) -> Result<Answer<rpc::MessageView>, Failure> {
    let mut left = limit;
    loop {
        let part = left.min(LONG_POLL);
        let params = rpc::WaitParams { id, timeout_s: Some(seconds(part)) };
        let doing = Doing::new(format!("wait for message {id}"));
        let answer = session.call::<rpc::Wait>(params, doing).await?;
        let settled =
            answer.value.state.is_final() || matches!(answer.value.state, MessageState::Held | MessageState::InDoubt);
        left = left.saturating_sub(part);
        if settled || left.is_zero() {
            return Ok(answer);
        }
        // A daemon that answers at once must not be asked in a tight loop.
        clock::sleep(Duration::from_millis(50)).await;
    }
}

fn params(app: &mut App, args: Send) -> Result<rpc::SendParams, Failure> {
    // The daemon counts a distance: the same command is then the same call, however late it is repeated.
    let (send_at, send_in_s) = match args.at {
        None => (None, None),
        Some(Moment::At(moment)) => (Some(moment), None),
        Some(Moment::Away(distance)) => (None, Some(distance.as_secs())),
    };
    let mut params = rpc::SendParams {
        profile: args.profile.clone(),
        send_at,
        send_in_s,
        expires_in_s: args.expires.map(|expires| expires.as_secs()),
        priority: args.priority,
        on_doubt: args.on_doubt,
        idempotency_key: args.idempotency_key.clone(),
        ..rpc::SendParams::default()
    };
    if let Some(path) = &args.eml {
        params.raw_b64 = Some(BASE64_STANDARD.encode(app.read(path)?));
        let envelope = rpc::EnvelopeInput { from: args.from, to: list(args.to) };
        params.envelope = Some(envelope).filter(|envelope| *envelope != rpc::EnvelopeInput::default());
    } else {
        params.message = Some(compose(app, args)?);
    }
    Ok(params)
}

fn compose(app: &mut App, args: Send) -> Result<rpc::Compose, Failure> {
    let dash = Some(Path::new("-"));
    let inputs = [args.text.as_deref(), args.html.as_deref()]
        .into_iter()
        .chain(args.attach.iter().map(|path| Some(path.as_path())));
    if inputs.filter(|path| *path == dash).count() > 1 {
        return Err(Failure::Usage("standard input can be read for one part only".to_owned()));
    }
    if args.to.is_empty() && args.cc.is_empty() && args.bcc.is_empty() {
        return Err(Failure::Usage("the mail needs a recipient: --to, --cc or --bcc".to_owned()));
    }
    let text = args.text.map(|path| app.read_text(&path)).transpose()?;
    let html = args.html.map(|path| app.read_text(&path)).transpose()?;
    let attachments = args.attach.iter().map(|path| attachment(app, path));
    Ok(rpc::Compose {
        from: args.from,
        to: args.to,
        cc: args.cc,
        bcc: args.bcc,
        reply_to: args.reply_to,
        subject: args.subject,
        text,
        html,
        attachments: attachments.collect::<Result<_, _>>()?,
        headers: map(args.headers)?.unwrap_or_default(),
    })
}

fn attachment(app: &mut App, path: &Path) -> Result<rpc::Attachment, Failure> {
    let octets = app.read(path)?;
    let name = match path.file_name() {
        Some(name) if path != Path::new("-") => name.to_string_lossy().into_owned(),
        _ => "attachment".to_owned(),
    };
    Ok(rpc::Attachment {
        content_type: media_type(path).map(ToOwned::to_owned),
        content_b64: BASE64_STANDARD.encode(octets),
        name,
    })
}

/// The media types that people attach; mail programs go by the name for the rest.
fn media_type(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    let media_type = match extension.as_str() {
        "csv" => "text/csv",
        "gif" => "image/gif",
        "gz" => "application/gzip",
        "htm" | "html" => "text/html",
        "ics" => "text/calendar",
        "jpeg" | "jpg" => "image/jpeg",
        "json" => "application/json",
        "log" | "txt" => "text/plain",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "xml" => "application/xml",
        "zip" => "application/zip",
        _ => return None,
    };
    Some(media_type)
}

//! E-mail over SMTP (RFC 5321): plain text, one message for each try.

use crate::SendError;
use credentialflow_model::SecretValue;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};
use std::time::Duration;

/// How a mail server is talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the first byte (port 465).
    Implicit,
    /// STARTTLS, and nothing without it (port 587).
    StartTls,
    /// In clear, for a mail server on this machine.
    None,
}

/// A mail server and who writes.
#[derive(Debug)]
pub struct MailSettings {
    /// Name of the server; its certificate must carry it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is talked to.
    pub tls: MailTls,
    /// User name and password, where it asks for them.
    pub login: Option<(String, SecretValue)>,
    /// The sender, as in `Credentialflow <credentials@example.com>`.
    pub from: String,
}

/// Sends e-mail.
#[derive(Clone)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailer").finish_non_exhaustive()
    }
}

impl Mailer {
    /// Over its settings; connects to nothing.
    pub fn new(settings: MailSettings) -> Result<Self, SendError> {
        let unusable = |words: &str| SendError::Unusable(words.to_owned());
        let MailSettings { host, port, tls, login, from } = settings;
        let from = from.parse().map_err(|_| unusable("the sender of e-mail is no address"))?;
        let parameters =
            || TlsParameters::new(host.clone()).map_err(|_| unusable("TLS of the mail server is unusable"));
        let tls = match tls {
            MailTls::Implicit => Tls::Wrapper(parameters()?),
            MailTls::StartTls => Tls::Required(parameters()?),
            MailTls::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&host)
            .port(port)
            .tls(tls)
            .timeout(Some(Duration::from_secs(15)));
        if let Some((user, password)) = login {
            let password = password.expose_str().ok_or_else(|| unusable("the mail server's password is no text"))?;
            builder = builder.credentials(Credentials::new(user, password.to_owned()));
        }
        Ok(Self { transport: builder.build(), from })
    }

    /// One try. `id` stays the same when a message is sent again, so that it can be told apart.
    pub async fn send(&self, id: &str, to: &str, subject: &str, text: &str) -> Result<(), SendError> {
        let unusable = |words: &str| SendError::Unusable(words.to_owned());
        let to: Mailbox = to.parse().map_err(|_| unusable("the address of an e-mail is none"))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(subject)
            .message_id(Some(format!("<{id}@credentialflow>")))
            .header(ContentType::TEXT_PLAIN)
            .body(text.to_owned())
            .map_err(|_| unusable("the e-mail cannot be written"))?;
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => {
                Err(SendError::NotTaken("the mail server refuses the e-mail".to_owned()))
            }
            Err(_) => Err(SendError::NotTaken("the mail server cannot be reached, or is busy".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::TcpListener,
    };

    /// A mail server that takes one message, or refuses its recipient.
    async fn server(refuse: bool) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            let (mut seen, mut data) = (String::new(), false);
            write.write_all(b"220 here\r\n").await.unwrap();
            while let Ok(Some(line)) = lines.next_line().await {
                seen.push_str(&line);
                seen.push('\n');
                let answer: &[u8] = match line.get(..4).unwrap_or_default() {
                    _ if data && line != "." => continue,
                    _ if data => {
                        data = false;
                        b"250 taken\r\n"
                    }
                    "EHLO" => b"250-here\r\n250 8BITMIME\r\n",
                    "RCPT" if refuse => b"550 nobody here\r\n",
                    "DATA" => {
                        data = true;
                        b"354 go on\r\n"
                    }
                    "QUIT" => b"221 bye\r\n",
                    _ => b"250 ok\r\n",
                };
                if write.write_all(answer).await.is_err() {
                    break;
                }
            }
            seen
        });
        (port, served)
    }

    fn mailer(port: u16) -> Mailer {
        let from = "Credentialflow <credentials@example.com>".to_owned();
        let settings = MailSettings { host: "127.0.0.1".to_owned(), port, tls: MailTls::None, login: None, from };
        Mailer::new(settings).unwrap()
    }

    #[tokio::test]
    async fn a_message_arrives_whole() {
        let (port, served) = server(false).await;
        let mailer = mailer(port);
        mailer.send("n1", "owners@example.com", "orders-token waits", "Line one.\n.\nüber").await.unwrap();
        drop(mailer);
        let seen = tokio::time::timeout(Duration::from_secs(90), served).await.unwrap().unwrap();
        for part in ["RCPT TO:<owners@example.com>", "Subject: orders-token waits", "Message-ID: <n1@credentialflow>"] {
            assert!(seen.contains(part), "{part} in {seen}");
        }
    }

    #[tokio::test]
    async fn what_is_refused_or_unreachable_is_told() {
        let (port, _served) = server(true).await;
        let sent = mailer(port).send("n1", "owners@example.com", "s", "t").await;
        assert_eq!(sent, Err(SendError::NotTaken("the mail server refuses the e-mail".to_owned())));
        let sent = mailer(1).send("n1", "owners@example.com", "s", "t").await;
        assert!(matches!(sent, Err(SendError::NotTaken(_))));
        let sent = mailer(1).send("n1", "nobody", "s", "t").await;
        assert!(matches!(sent, Err(SendError::Unusable(_))));
    }
}

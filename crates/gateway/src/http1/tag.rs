//! Names of the header fields the gateway itself looks at.

macro_rules! tags {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// A header field name the gateway knows, found once while parsing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Tag {
            /// Any other name.
            Other,
            $(#[doc = concat!("`", $name, "`")] $variant),*
        }

        impl Tag {
            /// The tag of a field name, whatever its case.
            pub fn of(name: &[u8]) -> Self {
                match name.len() {
                    $(n if n == $name.len() && name.eq_ignore_ascii_case($name.as_bytes()) => Self::$variant,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

tags! {
    Host = "host",
    ContentLength = "content-length",
    TransferEncoding = "transfer-encoding",
    Connection = "connection",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    ProxyAuthorization = "proxy-authorization",
    ProxyAuthenticate = "proxy-authenticate",
    Te = "te",
    Trailer = "trailer",
    Upgrade = "upgrade",
    Expect = "expect",
    Http2Settings = "http2-settings",
    Authorization = "authorization",
    XApiKey = "x-api-key",
    ApiKey = "api-key",
    XGoogApiKey = "x-goog-api-key",
    AcceptEncoding = "accept-encoding",
    ContentEncoding = "content-encoding",
    ContentType = "content-type",
    Traceparent = "traceparent",
    XRequestId = "x-request-id",
    XCredentialflowBudget = "x-credentialflow-budget",
    XCredentialflowModel = "x-credentialflow-model",
    XForwardedFor = "x-forwarded-for",
    XForwardedProto = "x-forwarded-proto",
    XForwardedHost = "x-forwarded-host",
    Forwarded = "forwarded",
    Date = "date",
    SecWebsocketExtensions = "sec-websocket-extensions",
    SecWebsocketProtocol = "sec-websocket-protocol",
}

impl Tag {
    /// Fields that belong to one connection and are never forwarded (RFC 9110, 7.6.1).
    pub const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::ProxyAuthorization
                | Self::ProxyAuthenticate
                | Self::Te
                | Self::Trailer
                | Self::TransferEncoding
                | Self::Upgrade
                | Self::Http2Settings
        )
    }

    /// Fields in which callers present a key.
    pub const fn may_carry_key(self) -> bool {
        matches!(self, Self::Authorization | Self::XApiKey | Self::ApiKey | Self::XGoogApiKey)
    }
}

//! The one HTTP client all channels send through: an HTTP/2 pool on h2 and rustls.

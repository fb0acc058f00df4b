//! A channel with scripted answers: the first thing a channel author reads.

//! FCM HTTP v1: Web Push first of all, Android and Apple devices behind Firebase.

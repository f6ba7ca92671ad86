//! Files that survive a power cut: written, fsynced, renamed, and their directory fsynced.

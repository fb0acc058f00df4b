//! The standalone gateway: doors, command line and assembly.

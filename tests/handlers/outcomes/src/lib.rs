//! A test handler: answers whatever its item's data asks for, each outcome of the interface.

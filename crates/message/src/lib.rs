//! The wire: headers, payload, CloudEvents in all three modes, trace context.

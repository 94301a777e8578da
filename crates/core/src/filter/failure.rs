/// Why a filter could not tell, and so is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Failure {
    /// The message does not have an attribute that is asked for.
    #[error("the message does not have this attribute")]
    MissingAttribute,
    /// A value is not of the type that is needed, and cannot be read as such.
    #[error("the value cannot be read as the type that is needed here")]
    Cast,
    /// A division by zero, or a result that is no Integer of 32 bits.
    #[error("the result is no integer of 32 bits")]
    Math,
    /// A function was called with what it is not defined for.
    #[error("the function is not defined for these arguments")]
    FunctionEvaluation,
    /// An expression gave something else.
    #[error("the expression gives no Boolean")]
    NotBoolean,
    /// It looked at more than a mebibyte of text ([`MAX_WORK`](super::MAX_WORK)): attributes that
    /// large are not meant for filters, and other subscriptions wait.
    #[error("the attributes are too large to be filtered by")]
    TooCostly,
}

impl Failure {
    /// Every one, for tables and metrics.
    pub const ALL: [Self; 6] = [
        Self::MissingAttribute,
        Self::Cast,
        Self::Math,
        Self::FunctionEvaluation,
        Self::NotBoolean,
        Self::TooCostly,
    ];

    /// The stable short name; of CESQL's errors, where it is one of them (§3.3).
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::MissingAttribute => "MissingAttributeError",
            Self::Cast => "CastError",
            Self::Math => "MathError",
            Self::FunctionEvaluation => "FunctionEvaluationError",
            Self::NotBoolean => "NotBoolean",
            Self::TooCostly => "TooCostly",
        }
    }
}

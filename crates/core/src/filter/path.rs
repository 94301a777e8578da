use super::{InvalidFilter, invalid::Problem};

/// Where in the filters of a subscription one is, as `filters[0].any[1].cesql`.
pub(super) struct Path(String);

impl Path {
    pub(super) fn root() -> Self {
        Self("filters".to_owned())
    }

    pub(super) fn in_index<T>(&mut self, index: usize, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.within(&format!("[{index}]"), inside)
    }

    pub(super) fn in_member<T>(&mut self, name: &str, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.within(&format!(".{name}"), inside)
    }

    fn within<T>(&mut self, step: &str, inside: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.0.len();
        self.0.push_str(step);
        let result = inside(self);
        self.0.truncate(length);
        result
    }

    pub(super) fn invalid(&self, problem: Problem) -> InvalidFilter {
        InvalidFilter::new(self.0.clone(), problem)
    }
}

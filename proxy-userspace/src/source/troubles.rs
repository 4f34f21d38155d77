//! Remembers which objects have problems, so that each repair is told.

use std::collections::BTreeSet;

use crate::model::{
    problem::{Problem, Subject},
    spec::Event,
};

/// The subjects whose problems were reported and not yet cleared.
#[derive(Debug, Default)]
pub(super) struct Troubles(BTreeSet<Subject>);

impl Troubles {
    /// The events after `subject` was converted anew: `Cleared` if it had problems, then those
    /// it has now.
    pub(super) fn renew(&mut self, subject: &Subject, problems: Vec<Problem>) -> Vec<Event> {
        let mut events = Vec::with_capacity(problems.len());
        if self.0.remove(subject) {
            events.push(Event::Cleared(subject.clone()));
        }
        self.report(problems, &mut events);
        events
    }

    /// The events after every object was listed anew.
    pub(super) fn replace(&mut self, problems: Vec<Problem>) -> Vec<Event> {
        let mut events: Vec<_> =
            std::mem::take(&mut self.0).into_iter().map(Event::Cleared).collect();
        self.report(problems, &mut events);
        events
    }

    fn report(&mut self, problems: Vec<Problem>, events: &mut Vec<Event>) {
        for problem in problems {
            self.0.insert(problem.subject.clone());
            events.push(Event::Problem(problem));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(name: &str) -> Problem {
        Problem { subject: Subject::Other(name.into()), text: "bad".into() }
    }

    #[test]
    fn clears_before_it_reports_again() {
        let subject = Subject::Other("a".into());
        let mut troubles = Troubles::default();
        assert_eq!(troubles.renew(&subject, vec![problem("a")]).len(), 1);
        assert_eq!(
            troubles.renew(&subject, vec![problem("a")]),
            [Event::Cleared(subject.clone()), Event::Problem(problem("a"))]
        );
        assert_eq!(troubles.renew(&subject, vec![]), [Event::Cleared(subject.clone())]);
        assert_eq!(troubles.renew(&subject, vec![]), []);
    }

    #[test]
    fn a_new_list_clears_what_vanished() {
        let mut troubles = Troubles::default();
        troubles.replace(vec![problem("a")]);
        assert_eq!(
            troubles.replace(vec![problem("b")]),
            [Event::Cleared(Subject::Other("a".into())), Event::Problem(problem("b"))]
        );
    }
}

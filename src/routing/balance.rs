//! Which of several eligible servers serves the next read.

use crate::config::Balance;

/// One eligible server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its place in the cluster.
    pub place: usize,
    /// Share of the reads; 0 takes part only if all are 0.
    pub weight: u32,
    /// Statements it is running for us.
    pub outstanding: u32,
}

/// Chooses among candidates; remembers what it gave to whom.
#[derive(Debug, Default)]
pub struct Balancer {
    /// By place: how much a server is owed. Smooth weighted round robin, as nginx has it: everyone earns its weight, the
    /// one owed most serves and pays the sum.
    credit: Vec<i64>,
}

impl Balancer {
    /// The place of the chosen candidate; None if there is none.
    pub fn pick(&mut self, candidates: &[Candidate], balance: Balance) -> Option<usize> {
        let total: u64 = candidates.iter().map(|candidate| u64::from(candidate.weight)).sum();
        let weight = |candidate: &Candidate| if total == 0 { 1 } else { candidate.weight };
        let eligible = candidates.iter().filter(|candidate| weight(candidate) > 0);
        match balance {
            Balance::RoundRobin => self.round_robin(eligible.map(|candidate| (candidate.place, weight(candidate)))),
            Balance::LeastOutstanding => {
                let busiest = |candidate: &&Candidate| {
                    // Compared as fractions outstanding/weight, in whole numbers.
                    (u64::from(candidate.outstanding) + 1) * 1_000_000 / u64::from(weight(candidate))
                };
                let least = eligible.clone().map(|candidate| busiest(&candidate)).min()?;
                let tied = eligible.filter(|candidate| busiest(candidate) == least);
                self.round_robin(tied.map(|candidate| (candidate.place, weight(candidate))))
            }
        }
    }

    fn round_robin(&mut self, candidates: impl Iterator<Item = (usize, u32)>) -> Option<usize> {
        let (mut best, mut total) = (None, 0);
        for (place, weight) in candidates {
            if self.credit.len() <= place {
                self.credit.resize(place + 1, 0);
            }
            total += i64::from(weight);
            self.credit[place] += i64::from(weight);
            if best.is_none_or(|best: usize| self.credit[place] > self.credit[best]) {
                best = Some(place);
            }
        }
        let best = best?;
        self.credit[best] -= total;
        Some(best)
    }

    /// Forgets what was owed: the cluster has changed and places mean other servers.
    pub fn reset(&mut self) {
        self.credit.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let candidate = |(place, &weight)| Candidate { place, weight, outstanding: 0 };
        weights.iter().enumerate().map(candidate).collect()
    }

    #[test]
    fn shares_follow_the_weights_exactly() {
        for weights in [&[1, 1, 1][..], &[100, 50], &[5, 1, 1], &[0, 3, 7], &[0, 0], &[7]] {
            let (mut balancer, candidates) = (Balancer::default(), candidates(weights));
            let total: u32 = weights.iter().sum();
            let (rounds, shares) =
                if total == 0 { (weights.len() as u32, vec![1; weights.len()]) } else { (total, weights.to_vec()) };
            let mut served = vec![0; weights.len()];
            for _ in 0..rounds {
                served[balancer.pick(&candidates, Balance::RoundRobin).unwrap()] += 1;
            }
            assert_eq!(served, shares, "{weights:?}");
        }
    }

    #[test]
    fn heavy_servers_do_not_serve_in_bursts() {
        let (mut balancer, candidates) = (Balancer::default(), candidates(&[5, 1, 1]));
        let order: Vec<_> = (0..7).filter_map(|_| balancer.pick(&candidates, Balance::RoundRobin)).collect();
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn least_outstanding_counts_per_weight() {
        let cases: &[(&[(u32, u32)], usize)] = &[
            (&[(100, 3), (100, 2)], 1),
            (&[(200, 3), (100, 2)], 0),
            (&[(0, 0), (100, 9)], 1),
            (&[(100, 0), (100, 0)], 0),
        ];
        for (servers, expected) in cases {
            let candidates: Vec<_> = servers
                .iter()
                .enumerate()
                .map(|(place, &(weight, outstanding))| Candidate { place, weight, outstanding })
                .collect();
            let found = Balancer::default().pick(&candidates, Balance::LeastOutstanding);
            assert_eq!(found, Some(*expected), "{servers:?}");
        }
    }

    #[test]
    fn nobody_is_picked_from_nobody() {
        for balance in [Balance::RoundRobin, Balance::LeastOutstanding] {
            assert_eq!(Balancer::default().pick(&[], balance), None);
        }
    }
}

//! The query part of a URL: read strictly, so that a mistyped parameter is no silent default.

use axum::extract::Query;
use axum::http::Uri;

use super::problem::Problem;

/// Parameters of one request. Every one must be taken before [`Params::finish`].
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    known: Vec<String>,
    /// Whether integers beyond 2^53 are to be written as text.
    pub(crate) numbers_as_text: bool,
}

impl Params {
    /// Decodes the query of `uri` and takes what every route has: `numbers`.
    pub(crate) fn read(uri: &Uri) -> Result<Params, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| Problem::bad_request(format!("the query of the URL: {error}")))?;
        let mut params = Params {
            pairs,
            known: Vec::new(),
            numbers_as_text: false,
        };
        params.numbers_as_text = match params.take("numbers")?.as_deref() {
            None | Some("json") => false,
            Some("text") => true,
            Some(other) => {
                let detail = format!("`numbers` is `json` or `text`, not `{other}`");
                return Err(Problem::bad_parameter("numbers", detail));
            }
        };
        Ok(params)
    }

    /// Takes the value of a parameter, which may be given once.
    pub(crate) fn take(&mut self, name: &str) -> Result<Option<String>, Problem> {
        self.known.push(name.to_owned());
        let Some(at) = self.pairs.iter().position(|(known, _)| known == name) else {
            return Ok(None);
        };
        let (_, value) = self.pairs.remove(at);
        if self.pairs.iter().any(|(known, _)| known == name) {
            let detail = format!("`{name}` is given more than once");
            return Err(Problem::bad_parameter(name, detail));
        }
        Ok(Some(value))
    }

    /// Takes a whole number in `least..=most`.
    pub(crate) fn take_count(
        &mut self,
        name: &str,
        default: usize,
        least: usize,
        most: usize,
    ) -> Result<usize, Problem> {
        let Some(text) = self.take(name)? else {
            return Ok(default);
        };
        match text.parse::<usize>() {
            Ok(value) if (least..=most).contains(&value) => Ok(value),
            _ => {
                let detail = format!("`{name}` is a number from {least} to {most}, not `{text}`");
                Err(Problem::bad_parameter(name, detail))
            }
        }
    }

    /// Refuses what nobody took, naming the nearest known parameter.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        let Some((name, _)) = self.pairs.first() else {
            return Ok(());
        };
        let known = self.known.iter().map(String::as_str);
        let nearest = super::nearest::nearest(name, known.clone());
        let list: Vec<&str> = known.collect();
        let detail = match nearest {
            Some(nearest) => format!("unknown parameter `{name}`; did you mean `{nearest}`?"),
            None => format!("unknown parameter `{name}`; known are {}", list.join(", ")),
        };
        Err(Problem::bad_parameter(name, detail).with_some("nearest", nearest))
    }
}

#[cfg(test)]
mod tests {
    use super::Params;

    fn read(uri: &str) -> Params {
        Params::read(&uri.parse().unwrap()).unwrap()
    }

    #[test]
    fn counts_have_bounds_and_defaults() {
        assert_eq!(read("/x").take_count("n", 10, 1, 100).unwrap(), 10);
        assert_eq!(read("/x?n=100").take_count("n", 10, 1, 100).unwrap(), 100);
        for bad in [
            "/x?n=0",
            "/x?n=101",
            "/x?n=-1",
            "/x?n=",
            "/x?n=1e3",
            "/x?n=1&n=2",
        ] {
            let problem = read(bad).take_count("n", 10, 1, 100).unwrap_err();
            assert_eq!(problem.name(), "bad-parameter", "{bad}");
        }
    }

    #[test]
    fn unknown_parameters_are_refused_with_the_nearest() {
        let mut params = read("/x?ofset=3");
        params.take_count("offset", 0, 0, 9).unwrap();
        let problem = params.finish().unwrap_err();
        assert!(
            problem.detail().contains("did you mean `offset`"),
            "{}",
            problem.detail()
        );
        assert!(Params::read(&"/x?numbers=words".parse().unwrap()).is_err());
        assert!(read("/x?numbers=text").numbers_as_text);
    }
}

//! The figures of runs as comma-separated values.

use super::document::Document;

/// Columns of [`csv`].
const COLUMNS: &str = "run_id,verdict,mode,rate_per_s,batch,connections,offered_per_s,acked_per_s,\
acked_events,errors,response_p50_ns,response_p90_ns,response_p99_ns,response_p999_ns,\
response_p9999_ns,response_max_ns,service_p50_ns,service_p99_ns,send_lag_p99_ns";

/// A header line and one line per run.
pub fn csv(documents: &[Document]) -> String {
    let mut out = format!("{COLUMNS}\n");
    for document in documents {
        let response = &document.response_ns;
        let verdict = if document.reasons.is_empty() {
            "valid"
        } else {
            "invalid"
        };
        let rate = document
            .options
            .rate_per_s
            .map_or_else(|| "max".to_owned(), |r| r.to_string());
        out.push_str(&format!(
            "{},{verdict},{},{rate},{},{},{:.1},{:.1},{},{},{},{},{},{},{},{},{},{},{}\n",
            document.run_id,
            document.mode,
            document.options.batch,
            document.options.connections,
            document.offered_per_s,
            document.acked_per_s,
            document.acked_events,
            document.errors,
            response.p50,
            response.p90,
            response.p99,
            response.p999,
            response.p9999,
            response.max,
            document.service_ns.p50,
            document.service_ns.p99,
            document.send_lag_ns.p99,
        ));
    }
    out
}

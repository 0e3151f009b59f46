//! Members of a remote ZIP archive by ranges (A07): the file's end, the rest of its directory, the member. Never more.
//!
//! Each range is a request through the gate like any other: policy, proxy, rate, cool-down and redirects hold for it.
//! The directory is kept, and a later member takes one request. It is of one file and so is the member: where the
//! server says that the file is another, all that is known of it is dropped and read anew, once.

mod directory;
mod fields;
mod kept;
mod names;
mod range;
mod reading;
mod unpack;

use crate::{Caller, Gate, Refused, Response, Told};

pub(crate) use kept::Archives;
use reading::Reading;

/// The members of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Their names, in the directory's order; those of folders end with `/`.
    pub names: Vec<String>,
    /// Bytes of bodies received for it.
    pub bytes_received: u64,
}

impl Gate {
    /// Lists the members of a remote ZIP archive, by at most two requests, and by one for a byte where its directory is
    /// kept. A server that knows no ranges from the end takes two more.
    ///
    /// # Errors
    /// As for [`Gate::fetch`]; or it is no archive, or its server gives no ranges.
    pub async fn list_zip_members(&self, caller: &Caller, url: &str, told: Told<'_>) -> Result<Listed, Refused> {
        let listed = async {
            let mut reading = Reading::new(self, caller, url, told)?;
            let names = reading.list().await.map_err(|refused| refused.after(reading.received))?;
            Ok(Listed { names, bytes_received: reading.received })
        };
        listed.await.inspect_err(|refused: &Refused| self.denials.count(refused.denial))
    }

    /// Reads one member of a remote ZIP archive, unpacked, by at most three requests, and by one where its directory is
    /// kept. The status is 200; `url` is the address that answered last; of the headers there are those that tell which
    /// file the archive is (`etag`, `last-modified`). The site's `body-max` bounds what is unpacked.
    ///
    /// # Errors
    /// As for [`Gate::list_zip_members`]; or there is no such member, or it isn't what the directory says of it.
    pub async fn fetch_zip_member(
        &self,
        caller: &Caller,
        url: &str,
        member: &str,
        told: Told<'_>,
    ) -> Result<Response, Refused> {
        let read = async {
            let mut reading = Reading::new(self, caller, url, told)?;
            let response = reading.member(member).await.map_err(|refused| refused.after(reading.received))?;
            Ok(Response { bytes_received: reading.received, ..response })
        };
        read.await.inspect_err(|refused: &Refused| self.denials.count(refused.denial))
    }
}

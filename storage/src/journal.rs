mod log;
mod record;
mod scan;

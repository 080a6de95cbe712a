//! Run ffmpeg and ffprobe as processes: typed commands, exact progress, bounded logs, structured errors.
